//! Holds functions to two rules of the style page: how many parameters one takes, and what its locals are called.
//!
//! In: a source file. Out: the locals anywhere, and the functions outside of tests, that break a rule.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::Parser;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprLet, FnArg, ImplItemFn, ItemFn, ItemMod, Local, Macro, Pat, Path, Signature,
};

use crate::sources::is_test;

/// The most parameters beside `self`.
const PARAMETERS: usize = 5;

/// The names in a file that break a rule.
#[derive(Debug, Default)]
pub struct Broken {
    /// Locals that have the name of the free function that made them. From such a line on, the function cannot be
    /// called any more, and a reader takes one for the other.
    pub shadows: Vec<String>,
    /// Functions outside of tests that take too many parameters.
    pub long: Vec<String>,
    in_test: bool,
}

pub fn broken(text: &str) -> Broken {
    let mut found = Broken::default();
    found.visit_file(&syn::parse_file(text).unwrap());
    found
}

impl Broken {
    /// Visits an item that may be a test.
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let outside = self.in_test;
        self.in_test |= is_test(attributes);
        visit(self);
        self.in_test = outside;
    }

    fn find_shadows(&mut self, pattern: &Pat, made_by: &Expr) {
        match (pattern, made_by) {
            (Pat::Type(typed), _) => self.find_shadows(&typed.pat, made_by),
            (Pat::Tuple(patterns), Expr::Tuple(values)) => {
                for (pattern, value) in patterns.elems.iter().zip(&values.elems) {
                    self.find_shadows(pattern, value);
                }
            }
            _ => {
                let function = called(made_by);
                self.shadows
                    .extend(bound(pattern).into_iter().filter(|name| Some(name) == function.as_ref()));
            }
        }
    }

    /// The content of a macro, which is no syntax tree: its statements, or those in any of its braces, as in
    /// `proptest!`.
    fn find_statements(&mut self, tokens: TokenStream) {
        if let Ok(statements) = Block::parse_within.parse2(tokens.clone()) {
            return statements.iter().for_each(|statement| self.visit_stmt(statement));
        }
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.find_statements(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Broken {
    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init {
            self.find_shadows(&local.pat, &init.expr);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_let(&mut self, condition: &'ast ExprLet) {
        self.find_shadows(&condition.pat, &condition.expr);
        visit::visit_expr_let(self, condition);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.find_statements(item.tokens.clone());
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
        if parameters > PARAMETERS && !self.in_test {
            self.long.push(signature.ident.to_string());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.within(&module.attrs, |found| visit::visit_item_mod(found, module));
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.within(&function.attrs, |found| visit::visit_item_fn(found, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.within(&function.attrs, |found| visit::visit_impl_item_fn(found, function));
    }
}

/// The names that a pattern gives.
fn bound(pattern: &Pat) -> Vec<String> {
    match pattern {
        Pat::Ident(bound) => vec![bound.ident.to_string()],
        Pat::Tuple(tuple) => tuple.elems.iter().flat_map(bound).collect(),
        Pat::TupleStruct(of) => of.elems.iter().flat_map(bound).collect(),
        Pat::Struct(of) => of.fields.iter().flat_map(|field| bound(&field.pat)).collect(),
        Pat::Reference(of) => bound(&of.pat),
        Pat::Paren(of) => bound(&of.pat),
        _ => Vec::new(),
    }
}

/// The free function at the head of an expression: `f` of `f(x).await?.iter()`.
fn called(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Await(inner) => called(&inner.base),
        Expr::Try(inner) => called(&inner.expr),
        Expr::MethodCall(inner) => called(&inner.receiver),
        Expr::Reference(inner) => called(&inner.expr),
        Expr::Paren(inner) => called(&inner.expr),
        Expr::Field(inner) => called(&inner.base),
        Expr::Call(call) => match call.func.as_ref() {
            Expr::Path(path) => own_function(&path.path),
            _ => None,
        },
        _ => None,
    }
}

/// The name of a function that is called by it alone, or as one of this file.
fn own_function(path: &Path) -> Option<String> {
    let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    match segments.as_slice() {
        [name] => Some(name.clone()),
        [this, name] if this == "self" => Some(name.clone()),
        _ => None,
    }
}
