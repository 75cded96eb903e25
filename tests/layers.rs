//! The structure of `src/`: a module imports only from layers below its own, and the modules of one
//! folder have no import cycle. Code under `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::visit::Visit;
use syn::{Attribute, Item, UseTree};

/// From top to bottom. A module imports only from modules below it in this list.
const LAYERS: [&[&str]; 20] = [
    &["main"],
    &["demo", "allocator", "command"],
    &["app", "logging", "doctor"],
    &["config"],
    &["admin"],
    &["front"],
    &["session"],
    &["audit"],
    &["expected"],
    &["backend"],
    &["route"],
    &["policy"],
    &["auth"],
    &["data"],
    &["net"],
    &["files"],
    &["wire"],
    &["op"],
    &["metrics"],
    &["task"],
];

/// `["backend", "ftp", "pool"]`; the root is empty.
type ModulePath = Vec<String>;

/// A module: a file, or one that is written inside another.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Its `use` declarations: name to path. A path may lead to a `use` of another module.
    names: BTreeMap<String, Vec<String>>,
    /// Each path that starts in another module, with its line.
    mentions: Vec<(Vec<String>, usize)>,
}

type Modules = BTreeMap<ModulePath, Module>;

/// One module mentions another.
#[derive(Debug, Clone)]
struct Import {
    from: ModulePath,
    to: ModulePath,
    place: String,
}

#[test]
fn every_file_begins_with_a_module_comment() {
    for folder in ["src", "tests"] {
        for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file");
            assert!(text.starts_with("//! "), "{}: its first line is no `//!`", file.display());
        }
    }
}

#[test]
fn no_module_imports_from_a_layer_above_its_own() {
    let layer = |path: &ModulePath| {
        let name = path.first()?;
        let found = LAYERS.iter().position(|layer| layer.contains(&name.as_str()));
        Some(found.unwrap_or_else(|| panic!("src/{name} is in none of the LAYERS of this test")))
    };
    let mut violations = String::new();
    for import in imports(&modules()) {
        let (Some(from), Some(to)) = (layer(&import.from), layer(&import.to)) else { continue };
        if to < from {
            let _ = writeln!(violations, "{}: imports {}", import.place, import.to.join("::"));
        }
    }
    assert!(violations.is_empty(), "these import from a layer above their own:\n{violations}");
}

#[test]
fn modules_of_a_folder_have_no_import_cycle() {
    let modules = modules();
    let imports = imports(&modules);
    let mut violations = String::new();
    for folder in modules.keys() {
        let edges = between_children(folder, &imports);
        for cycle in cycles(&edges) {
            let _ = writeln!(violations, "{}:", folder.join("::"));
            for ((from, to), place) in &edges {
                if cycle.contains(from) && cycle.contains(to) {
                    let _ = writeln!(violations, "    {from} -> {to}: {place}");
                }
            }
        }
    }
    assert!(violations.is_empty(), "import cycles:\n{violations}");
}

/// Which child of a folder imports which other, with one line that does.
fn between_children(folder: &ModulePath, imports: &[Import]) -> BTreeMap<(String, String), String> {
    let child = |path: &ModulePath| {
        path.strip_prefix(folder.as_slice()).and_then(|rest| rest.first()).cloned()
    };
    let mut edges = BTreeMap::new();
    for import in imports {
        if let (Some(from), Some(to)) = (child(&import.from), child(&import.to))
            && from != to
        {
            edges.entry((from, to)).or_insert_with(|| import.place.clone());
        }
    }
    edges
}

/// Strongly connected components: sets of nodes that all reach each other.
fn cycles(edges: &BTreeMap<(String, String), String>) -> BTreeSet<BTreeSet<String>> {
    let reached = |start: &String| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(node) = todo.pop() {
            for (_, to) in edges.keys().filter(|(from, _)| *from == node) {
                if seen.insert(to.clone()) {
                    todo.push(to.clone());
                }
            }
        }
        seen
    };
    let nodes: BTreeSet<_> = edges.keys().map(|(from, _)| from).collect();
    let reach: BTreeMap<_, _> = nodes.iter().map(|node| ((*node).clone(), reached(node))).collect();
    let on_cycle = reach.iter().filter(|(node, seen)| seen.contains(*node));
    on_cycle
        .map(|(node, seen)| {
            let back = |other: &&String| reach.get(*other).is_some_and(|from| from.contains(node));
            seen.iter().filter(back).cloned().collect()
        })
        .collect()
}

/// What each module mentions of the others, led to where it is defined.
fn imports(modules: &Modules) -> Vec<Import> {
    let mut imports = Vec::new();
    for (from, module) in modules {
        for (mentioned, line) in &module.mentions {
            let to = defining_module(modules, mentioned, 0);
            if to != *from && !to.is_empty() {
                let place = format!("{}:{line}", module.file.display());
                imports.push(Import { from: from.clone(), to, place });
            }
        }
    }
    imports
}

/// The module in which an item is defined: `use` lines are followed.
fn defining_module(modules: &Modules, mentioned: &[String], depth: usize) -> ModulePath {
    let known = (0..=mentioned.len()).rev().find(|end| modules.contains_key(&mentioned[..*end]));
    let end = known.expect("the root is a module");
    let module = mentioned[..end].to_vec();
    let Some(name) = mentioned.get(end) else { return module };
    match modules[&module].names.get(name) {
        Some(elsewhere) if depth < 8 => {
            let whole = [elsewhere.as_slice(), &mentioned[end + 1..]].concat();
            defining_module(modules, &whole, depth + 1)
        }
        _ => module,
    }
}

/// All modules of the library and the program.
fn modules() -> Modules {
    let mut modules = Modules::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read(&mut modules, &root.join("lib.rs"), &root, Vec::new());
    read(&mut modules, &root.join("main.rs"), &root, vec!["main".to_owned()]);
    assert!(modules.len() > 100, "src/ has {} modules only", modules.len());
    modules
}

/// One file and those of its modules. `folder`: where these are.
fn read(modules: &mut Modules, file: &Path, folder: &Path, path: ModulePath) {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let short = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file);
    modules.insert(path.clone(), Module { file: short.to_owned(), ..Module::default() });
    take_items(modules, &syntax.items, folder, &path);
}

fn take_items(modules: &mut Modules, items: &[Item], folder: &Path, path: &ModulePath) {
    let mut visitor = Mentions { path, names: BTreeMap::new(), mentions: Vec::new() };
    let shipped = || items.iter().filter(|item| !is_for_tests(attributes(item)));
    for item in shipped() {
        if let Item::Mod(module) = item {
            let inner = [path.as_slice(), &[module.ident.to_string()]].concat();
            match &module.content {
                Some((_, items)) => {
                    let file = modules[path].file.clone();
                    modules.insert(inner.clone(), Module { file, ..Module::default() });
                    take_items(modules, items, folder, &inner);
                }
                None => {
                    let name = module.ident.to_string();
                    let below = folder.join(&name);
                    let flat = folder.join(format!("{name}.rs"));
                    let file = if flat.exists() { flat } else { below.join("mod.rs") };
                    read(modules, &file, &below, inner);
                }
            }
        }
    }
    // Their names are needed before the paths that begin with them.
    for item in shipped() {
        match item {
            Item::Use(item) => visitor.take_use(&item.tree, &mut Vec::new()),
            Item::Mod(module) => {
                let name = module.ident.to_string();
                visitor.names.insert(name.clone(), [path.as_slice(), &[name]].concat());
            }
            _ => {}
        }
    }
    for item in shipped().filter(|item| !matches!(item, Item::Mod(_) | Item::Use(_))) {
        visitor.visit_item(item);
    }
    let Mentions { names, mentions, .. } = visitor;
    let module = modules.get_mut(path).expect("inserted by the caller");
    (module.names, module.mentions) = (names, mentions);
}

struct Mentions<'a> {
    path: &'a ModulePath,
    names: BTreeMap<String, Vec<String>>,
    mentions: Vec<(Vec<String>, usize)>,
}

impl Mentions<'_> {
    fn take_use(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                before.push(part.ident.to_string());
                self.take_use(&part.tree, before);
                before.pop();
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.take_use(tree, before));
            }
            UseTree::Name(last) => {
                let name = last.ident.to_string();
                let own = if name == "self" { before.last().cloned() } else { Some(name.clone()) };
                let tail = (name != "self").then_some(name);
                self.take_name(own, before, tail, last.ident.span());
            }
            UseTree::Rename(last) => {
                let tail = (last.ident != "self").then(|| last.ident.to_string());
                self.take_name(Some(last.rename.to_string()), before, tail, last.ident.span());
            }
            UseTree::Glob(all) => self.take_name(None, before, None, all.star_token.spans[0]),
        }
    }

    fn take_name(
        &mut self,
        own: Option<String>,
        before: &[String],
        last: Option<String>,
        span: Span,
    ) {
        let whole: Vec<String> = before.iter().cloned().chain(last).collect();
        let Some(absolute) = self.absolute(&whole) else { return };
        self.mentions.push((absolute.clone(), span.start().line));
        if let Some(own) = own {
            self.names.insert(own, absolute);
        }
    }

    /// As seen from the root; `None` for what is not of this crate.
    fn absolute(&self, written: &[String]) -> Option<Vec<String>> {
        let (first, rest) = written.split_first()?;
        match first.as_str() {
            "crate" | "lockgate" => Some(rest.to_vec()),
            "self" => Some([self.path.as_slice(), rest].concat()),
            "super" => {
                let up = 1 + rest.iter().take_while(|part| *part == "super").count();
                let parent = &self.path[..self.path.len().checked_sub(up)?];
                Some([parent, &rest[up - 1..]].concat())
            }
            name => {
                let target = self.names.get(name)?;
                Some([target.as_slice(), rest].concat())
            }
        }
    }
}

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A name alone came by a `use` line, which is counted itself.
        if written.len() > 1
            && let Some(absolute) = self.absolute(&written)
            && let Some(first) = path.segments.first()
        {
            self.mentions.push((absolute, first.ident.span().start().line));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_use(&item.tree, &mut Vec::new());
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
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
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}
