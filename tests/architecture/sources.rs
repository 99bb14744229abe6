//! Reads which file of a crate uses which other.
//!
//! In: the sources of a crate, by path. Out: an edge for each use, however it is written: `use crate::{a, b}`, nested
//! groups, `super::super::`, `self::`, a path in an expression or a type, a path inside a macro. `hidden` finds the
//! forms that this file does not follow, and no source may have them. A name that a module re-exports counts as the
//! file that defines it, so that a `mod.rs` that only gathers names is in nobody's way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, Meta, UseTree, Visibility};

/// A module, as the path from the root of the crate.
pub type Module = Vec<String>;

/// The files of a crate and what they use.
#[derive(Debug, Default)]
pub struct Sources {
    files: BTreeMap<Module, Parsed>,
}

#[derive(Debug)]
struct Parsed {
    name: String,
    /// The whole file is part of the tests.
    test: bool,
    /// Names that `use` brings in, with their absolute paths. Those of `pub use` are re-exports.
    imports: Vec<Import>,
    /// Absolute paths that the code names.
    paths: Vec<Used>,
}

#[derive(Clone, Debug)]
struct Import {
    /// `*` for a glob.
    name: String,
    path: Module,
    public: bool,
    test: bool,
}

#[derive(Clone, Debug)]
struct Used {
    path: Module,
    test: bool,
}

/// A file that uses another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// Only the tests in `from` do.
    pub test: bool,
}

impl Sources {
    /// The sources below a directory that holds `lib.rs`.
    pub fn read(root: &Path) -> Sources {
        fn walk(root: &Path, path: &Path, found: &mut Vec<(String, String)>) {
            for entry in fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, found);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        walk(root, root, &mut found);
        Sources::parse(found.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// The sources of a crate, given by name and text.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Sources {
        let files = files.into_iter().filter(|(name, _)| *name != "main.rs");
        let files: BTreeMap<Module, (&str, syn::File)> = files
            .map(|(name, text)| {
                let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
                (module_of(name), (name, file))
            })
            .collect();
        // Modules that only tests have; the files in their folders are theirs.
        let of_tests: BTreeSet<Module> = files
            .iter()
            .flat_map(|(module, (_, file))| file.items.iter().map(move |item| (module, item)))
            .filter_map(|(module, item)| match item {
                Item::Mod(item) if is_test(&item.attrs) => {
                    Some(module.iter().cloned().chain([item.ident.to_string()]).collect())
                }
                _ => None,
            })
            .collect();
        let parsed = files.into_iter().map(|(module, (name, file))| {
            let test = (0..=module.len()).any(|n| of_tests.contains(&module[..n]));
            let mut imports = Imports { module: module.clone(), test, found: Vec::new() };
            imports.visit_file(&file);
            let mut paths = Paths { module: module.clone(), test, imports: &imports.found, found: vec![] };
            paths.visit_file(&file);
            let paths = paths.found;
            (module, Parsed { name: name.to_owned(), test, imports: imports.found, paths })
        });
        Sources { files: parsed.collect() }
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.values().map(|file| file.name.as_str())
    }

    /// The names of the files that are no tests as a whole.
    pub fn outside_tests(&self) -> impl Iterator<Item = &str> {
        self.files.values().filter(|file| !file.test).map(|file| file.name.as_str())
    }

    /// Which file uses which other.
    pub fn edges(&self) -> BTreeSet<Edge> {
        let mut edges = BTreeSet::new();
        for (module, file) in &self.files {
            let mut edge = |to: Option<&str>, test| {
                if let Some(to) = to.filter(|to| *to != file.name) {
                    edges.insert(Edge { from: file.name.clone(), to: to.to_owned(), test });
                }
            };
            for import in file.imports.iter().filter(|import| !self.gathers(module, import)) {
                // A module that is imported as a whole is used by the paths that begin with it.
                let whole = self.files.get(&import.path).filter(|_| import.name == "*");
                let to = whole.map(|file| file.name.as_str());
                edge(to.or_else(|| self.defining_file(&import.path)), import.test);
            }
            for used in &file.paths {
                edge(self.defining_file(&used.path), used.test);
            }
        }
        edges
    }

    /// Whether an import only hands on a name of the module's own child.
    fn gathers(&self, module: &Module, import: &Import) -> bool {
        let Some(rest) = import.path.strip_prefix(module.as_slice()) else { return false };
        let Some(name) = rest.first() else { return false };
        let is_child = self.files.contains_key(&import.path[..=module.len()]);
        let mut others = self.files[module].imports.iter().filter(|other| other.path != import.path);
        // A name that another `use` brings in is not the module's own.
        import.public && (is_child || !others.any(|other| other.name == *name))
    }

    /// The file that defines the item at a path; `None` for a path to a module.
    fn defining_file(&self, path: &[String]) -> Option<&str> {
        let mut path = path.to_vec();
        // Each round follows one import, which the module and those below it may use even if it is not public. A circle
        // of imports does not compile.
        for _ in 0..20 {
            let known = (0..=path.len()).rev().find(|n| self.files.contains_key(&path[..*n]))?;
            let file = &self.files[&path[..known]];
            let item = path.get(known)?;
            let names_it = |import: &&Import| import.name == *item && import.path != path[..=known];
            let imports = || file.imports.iter().filter(|import| import.public || !import.test);
            let globs = || file.imports.iter().filter(|import| import.public && import.name == "*");
            if let Some(import) = imports().find(names_it) {
                path = import.path.iter().chain(&path[known + 1..]).cloned().collect();
            } else if let Some(glob) = globs().find(|glob| self.files.contains_key(&glob.path)) {
                path = glob.path.iter().chain(&path[known..]).cloned().collect();
            } else {
                return Some(&file.name);
            }
        }
        None
    }
}

/// Groups of files that use each other in a circle, each sorted. Tests do not count.
pub fn circles(edges: &BTreeSet<Edge>) -> Vec<Vec<String>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| !edge.test) {
        next.entry(&edge.from).or_default().insert(&edge.to);
    }
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<&str> = next.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = todo.pop() {
            if reached.insert(file) {
                todo.extend(next.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reached(file))).collect();
    let circle = |file: &str| -> Option<Vec<String>> {
        let from = all.get(file)?.iter();
        let back = from.filter(|other| all.get(**other).is_some_and(|reached| reached.contains(file)));
        let circle: Vec<String> = back.map(|other| (*other).to_owned()).collect();
        (!circle.is_empty()).then_some(circle)
    };
    let found: BTreeSet<Vec<String>> = all.keys().filter_map(|file| circle(file)).collect();
    found.into_iter().collect()
}

fn module_of(name: &str) -> Module {
    let path = name.trim_end_matches(".rs");
    let mut module: Module = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

pub fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// A path as it is written, from the root of the crate; `None` when it leads to another crate or to an item of the file
/// itself.
fn absolute(segments: &[String], module: &Module, imports: &[Import]) -> Option<Module> {
    let first = segments.first()?;
    match first.as_str() {
        "crate" => Some(segments[1..].to_vec()),
        "self" => Some(module.iter().chain(&segments[1..]).cloned().collect()),
        "super" => {
            let up = segments.iter().take_while(|segment| *segment == "super").count();
            let parent = module.get(..module.len().checked_sub(up)?)?;
            Some(parent.iter().chain(&segments[up..]).cloned().collect())
        }
        _ => {
            let import = imports.iter().find(|import| import.name == *first)?;
            Some(import.path.iter().chain(&segments[1..]).cloned().collect())
        }
    }
}

/// Follows into an item with the module that it is in: `mod tests { use super::… }` is a module of the same file.
macro_rules! descend {
    ($self:ident, $item:ident, $visit:path) => {{
        let (module, test) = ($self.module.clone(), $self.test);
        $self.module.push($item.ident.to_string());
        $self.test |= is_test(&$item.attrs);
        $visit($self, $item);
        ($self.module, $self.test) = (module, test);
    }};
}

struct Imports {
    module: Module,
    test: bool,
    found: Vec<Import>,
}

impl Imports {
    fn tree(&mut self, tree: &UseTree, before: &[String], public: bool, test: bool) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        let (name, segments) = match tree {
            UseTree::Path(path) => {
                return self.tree(&path.tree, &with(path.ident.to_string()), public, test);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(tree, before, public, test));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), with(name.ident.to_string())),
            UseTree::Rename(rename) => (rename.rename.to_string(), with(rename.ident.to_string())),
            UseTree::Glob(_) => ("*".to_owned(), before.to_vec()),
        };
        // A path that begins with a name is one of a child module, or of another crate: a crate's path leads to no
        // file.
        let from_root = absolute(&segments, &self.module, &[]);
        let path = from_root.unwrap_or_else(|| self.module.iter().chain(&segments).cloned().collect());
        self.found.push(Import { name, path, public, test });
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        let test = self.test || is_test(&item.attrs);
        self.tree(&item.tree, &[], public, test);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if item.content.is_some() {
            descend!(self, item, syn::visit::visit_item_mod);
        }
    }
}

struct Paths<'i> {
    module: Module,
    test: bool,
    imports: &'i [Import],
    found: Vec<Used>,
}

impl Paths<'_> {
    fn path(&mut self, segments: &[String]) {
        if segments.len() > 1
            && let Some(path) = absolute(segments, &self.module, self.imports)
        {
            self.found.push(Used { path, test: self.test });
        }
    }

    /// Paths in a macro, whose content is no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(&std::mem::take(&mut segments));
                    }
                    segments.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.path(&std::mem::take(&mut segments));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(&segments);
    }
}

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'a syn::Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }

    fn visit_item_use(&mut self, _item: &'a ItemUse) {}

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if item.content.is_some() {
            descend!(self, item, syn::visit::visit_item_mod);
        }
    }

    fn visit_item(&mut self, item: &'a Item) {
        let test = self.test;
        self.test |= is_test(attributes(item));
        syn::visit::visit_item(self, item);
        self.test = test;
    }

    /// The path in `pub(in …)` is no use.
    fn visit_visibility(&mut self, _visibility: &'a Visibility) {}
}
