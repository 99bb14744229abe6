//! Finds the forms that hide which file uses which other, because `sources` does not follow them.
//!
//! In: a source file. Out: each `use` of everything in a module, outside of tests; and, in tests as well, each file
//! that a module or a macro takes by its path.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, Macro, UseGlob};

use crate::sources::{attributes, is_test};

/// A form that hides a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `use super::*`: the names that it brings in show in no path.
    Glob,
    /// `#[path = "x.rs"] mod y`: the module is in a file of another name.
    Path,
    /// `include!("x.rs")`: the code of another file counts as this one's.
    Include,
}

/// The forms in a file. `test`: the whole file is part of the tests.
pub fn hidden(text: &str, test: bool) -> Vec<Form> {
    let mut found = Vec::new();
    find_files(text.parse().unwrap(), &mut found);
    if !test {
        let mut globs = Globs(found);
        globs.visit_file(&syn::parse_file(text).unwrap());
        found = globs.0;
    }
    found
}

/// The files that are taken by their path.
fn find_files(tokens: TokenStream, found: &mut Vec<Form>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (n, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "include" && is_punct(tokens.get(n + 1), '!') => {
                found.push(Form::Include);
            }
            TokenTree::Group(group) => {
                let after_hash = n.checked_sub(1).is_some_and(|before| is_punct(tokens.get(before), '#'));
                if after_hash && group.delimiter() == Delimiter::Bracket && is_path(group.stream()) {
                    found.push(Form::Path);
                }
                find_files(group.stream(), found);
            }
            _ => {}
        }
    }
}

/// Whether an attribute is `path = "…"`, or is that under a condition.
fn is_path(attribute: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    let word = |n: usize| match tokens.get(n) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    };
    let of_condition = |tokens: &TokenTree| match tokens {
        TokenTree::Group(group) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let parts = inner.split(|token| is_punct(Some(token), ','));
            parts.skip(1).any(|part| is_path(part.iter().cloned().collect()))
        }
        _ => false,
    };
    match word(0).as_str() {
        "path" => is_punct(tokens.get(1), '='),
        "cfg_attr" => tokens.iter().any(of_condition),
        _ => false,
    }
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

struct Globs(Vec<Form>);

impl Globs {
    /// The globs in a macro, whose content is no syntax tree. `*` comes after `::` in a `use` alone.
    fn find(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_glob = |part: &&[TokenTree]| {
            [':', ':', '*'].iter().zip(*part).all(|(c, token)| is_punct(Some(token), *c))
        };
        self.0.extend(tokens.windows(3).filter(is_glob).map(|_| Form::Glob));
        for token in tokens {
            if let TokenTree::Group(group) = token {
                self.find(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Globs {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_use_glob(&mut self, _glob: &'ast UseGlob) {
        self.0.push(Form::Glob);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.find(item.tokens.clone());
    }
}
