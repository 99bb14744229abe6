//! Holds functions to two rules of the style page: how many parameters one takes, and what its locals are called.
//!
//! In: a source file. Out: the functions and locals outside of tests that break a rule.

use syn::visit::{self, Visit};
use syn::{Expr, FnArg, ImplItemFn, ItemFn, ItemMod, Local, Pat, Signature};

use crate::sources::is_test;

/// The most parameters beside `self`.
const PARAMETERS: usize = 5;

/// What breaks a rule in a file, by name.
#[derive(Debug, Default)]
pub struct Broken {
    /// Locals that have the name of the free function that made them. From such a line on, the function cannot be called any
    /// more, and a reader takes one for the other.
    pub shadows: Vec<String>,
    /// Functions that take too many parameters.
    pub long: Vec<String>,
}

pub fn broken(text: &str) -> Broken {
    let mut found = Broken::default();
    found.visit_file(&syn::parse_file(text).unwrap());
    found
}

impl<'ast> Visit<'ast> for Broken {
    fn visit_local(&mut self, local: &'ast Local) {
        if let (Some(name), Some(init)) = (bound(&local.pat), &local.init)
            && called(&init.expr).is_some_and(|function| function == name)
        {
            self.shadows.push(name);
        }
        visit::visit_local(self, local);
    }

    fn visit_signature(&mut self, signature: &'ast Signature) {
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
        if parameters > PARAMETERS {
            self.long.push(signature.ident.to_string());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

fn bound(pattern: &Pat) -> Option<String> {
    match pattern {
        Pat::Ident(bound) => Some(bound.ident.to_string()),
        Pat::Type(typed) => bound(&typed.pat),
        _ => None,
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
            Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
            _ => None,
        },
        _ => None,
    }
}
