//! Holds the names of types to the style page: one word for one thing.
//!
//! In: source files, by name. Out: the names that two types have, with the files that define them.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemEnum, ItemStruct, ItemTrait, ItemType, ItemUnion, Macro};

use crate::sources::{attributes, is_test};

/// The words before the name of a type.
const KEYWORDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// The files that define a type of each name that more than one type has. `shared`: names that each folder of the
/// folder `of` may define once, because they are the same idea for each of these folders.
pub fn collisions<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    of: &str,
    shared: &[&str],
) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in files {
        for name in types(text) {
            found.entry(name).or_default().push(file.to_owned());
        }
    }
    found.retain(|name, files| {
        let mut folders: Vec<Option<&str>> = files.iter().map(|file| folder_in(of, file)).collect();
        folders.sort_unstable();
        let apart = folders.windows(2).all(|two| two[0] != two[1]) && !folders.contains(&None);
        files.len() > 1 && !(shared.contains(&name.as_str()) && apart)
    });
    found
}

/// The folder in another one that a file is in: `b` of `a/b/c.rs` for `a`.
fn folder_in<'f>(folder: &str, file: &'f str) -> Option<&'f str> {
    let (inner, _) = file.strip_prefix(folder)?.strip_prefix('/')?.split_once('/')?;
    Some(inner)
}

/// The names of the types that a file defines outside of tests, those in functions and macros as well.
fn types(text: &str) -> Vec<String> {
    let mut found = Types(Vec::new());
    found.visit_file(&syn::parse_file(text).unwrap());
    found.0
}

struct Types(Vec<String>);

impl Types {
    fn add(&mut self, name: &Ident) {
        self.0.push(name.to_string());
    }

    /// The types in a macro, whose content is no syntax tree.
    fn find_types(&mut self, tokens: TokenStream) {
        let mut is_name = false;
        for token in tokens {
            match &token {
                TokenTree::Ident(name) if is_name => self.add(name),
                TokenTree::Group(group) => self.find_types(group.stream()),
                _ => {}
            }
            is_name =
                matches!(&token, TokenTree::Ident(word) if KEYWORDS.iter().any(|keyword| word == keyword));
        }
    }
}

impl<'ast> Visit<'ast> for Types {
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

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.add(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.add(&item.ident);
    }

    fn visit_item_union(&mut self, item: &'ast ItemUnion) {
        self.add(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.add(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        self.add(&item.ident);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.find_types(item.tokens.clone());
    }
}
