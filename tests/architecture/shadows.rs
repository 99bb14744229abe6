//! Finds local variables that have the name of the function that made them.
//!
//! In: a source file. Out: the names of such locals outside of tests. From such a line on, the function cannot be called any
//! more, and a reader takes one for the other.

use syn::visit::{self, Visit};
use syn::{Expr, ImplItemFn, Item, ItemFn, ItemMod, Local, Pat};

use crate::sources::is_test;

/// The locals of a file that shadow the free function in their own initializer.
pub fn shadows(text: &str) -> Vec<String> {
    let file = syn::parse_file(text).unwrap();
    let mut found = Shadows::default();
    file.items.iter().filter(|item| !is_test_item(item)).for_each(|item| found.visit_item(item));
    found.0
}

fn is_test_item(item: &Item) -> bool {
    matches!(item, Item::Fn(ItemFn { attrs, .. }) | Item::Mod(ItemMod { attrs, .. }) if is_test(attrs))
}

#[derive(Default)]
struct Shadows(Vec<String>);

impl<'ast> Visit<'ast> for Shadows {
    fn visit_local(&mut self, local: &'ast Local) {
        if let (Some(name), Some(init)) = (bound(&local.pat), &local.init)
            && called(&init.expr).is_some_and(|function| function == name)
        {
            self.0.push(name);
        }
        visit::visit_local(self, local);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
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
