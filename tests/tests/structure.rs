//! The shape of the source: which package and which module may know which, and what every file begins with.
//!
//! A rule that only people check is broken by the second hurried change; these are read off the source itself.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The packages, and which of ours each may depend on. kvcore and kvproto never meet.
const DIRECTION: &[(&str, &[&str])] = &[
    ("kvproto", &[]),
    ("kvcore", &[]),
    ("kvcommands", &["kvcore", "kvproto"]),
    ("kvconfig", &["kvproto"]),
    ("kvstats", &["kvcore", "kvproto"]),
    ("kvtools", &["kvcore"]),
    ("kvserver", &["kvcore", "kvproto", "kvcommands", "kvconfig", "kvstats", "kvtools"]),
    ("kvclient", &["kvproto"]),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's directory").to_owned()
}

/// Every `.rs` file below `dir`, in order; build output and hidden directories are not source.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.expect("a directory's entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                dirs.push(path);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code of a file without comments and without its unit tests, which may know everything.
fn code(path: &Path) -> String {
    let text = read(path);
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("#[cfg(test)]") {
            // Of a module in a file of its own only the name stands here, among others.
            if lines.next_if(|next| next.ends_with(';')).is_some() {
                continue;
            }
            // By convention the unit tests are the last thing in a file.
            break;
        }
        // Comments of whole lines only: the rest cannot look like a path that is not there.
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The words of `code`: runs of letters, digits and underscores.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// The paths that a use tree names: `a::{b, c::{D, E as F}}` gives `a::b`, `a::c::D`, `a::c::E`.
fn tree_paths(tree: &str, prefix: &[&str], paths: &mut Vec<Vec<String>>) {
    let mut depth = 0;
    let mut begin = 0;
    for (at, letter) in tree.char_indices().chain([(tree.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = tree[begin..at].trim();
                begin = at + 1;
                let (path, rest) = branch.split_once('{').map_or((branch, None), |(path, rest)| (path, Some(rest)));
                let path = path.split(" as ").next().unwrap_or(path);
                let names = path.split("::").map(str::trim).filter(|name| !name.is_empty() && *name != "self");
                let names: Vec<&str> = prefix.iter().copied().chain(names).collect();
                match rest {
                    Some(rest) => tree_paths(rest.strip_suffix('}').unwrap_or(rest), &names, paths),
                    None if branch.is_empty() => {}
                    None => paths.push(names.into_iter().map(str::to_owned).collect()),
                }
            }
            _ => {}
        }
    }
}

/// The text of the use tree or path at the start of `code`.
fn tree_at(code: &str) -> &str {
    let mut depth = 0;
    let ends = |letter: char| match letter {
        '{' => {
            depth += 1;
            false
        }
        '}' if depth > 0 => {
            depth -= 1;
            false
        }
        _ => depth == 0 && !letter.is_alphanumeric() && !matches!(letter, '_' | ':' | '*'),
    };
    &code[..code.find(ends).unwrap_or(code.len())]
}

/// The paths in `code` that begin with `crate::` or `super::`, from the crate's root on; `module` is the one it is in.
fn imports(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        // Of `super::super::` the first counts, and of `$crate::` none.
        if code[..at].ends_with("super::")
            || code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '$')
        {
            continue;
        }
        let mut rest = &code[at..];
        let mut base = module.to_vec();
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        if let Some(after) = rest.strip_prefix("crate::") {
            (base, rest) = (Vec::new(), after);
        }
        let base: Vec<&str> = base.iter().map(String::as_str).collect();
        tree_paths(tree_at(rest), &base, &mut found);
    }
    found
}

/// The files of a crate by their modules' paths; the root has an empty one. What only tests have is left out.
fn modules(src: &Path) -> BTreeMap<Vec<String>, PathBuf> {
    let mut modules = BTreeMap::new();
    for file in rust_files(src) {
        let inside = file.strip_prefix(src).expect("a file of the crate").with_extension("");
        let mut path: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if path.last().is_some_and(|name| name == "mod") || inside == Path::new("lib") {
            path.pop();
        }
        modules.insert(path, file);
    }
    let declares = |path: &[String], name: &String| {
        let parent =
            modules.get(path).into_iter().chain(modules.get(&["main".to_owned()][..]).filter(|_| path.is_empty()));
        parent.into_iter().any(|file| code(file).contains(&format!("mod {name};")))
    };
    let is_test = |path: &[String]| {
        let test_only =
            |len: usize| path[len] == "models" || path[len] != "main" && !declares(&path[..len], &path[len]);
        (0..path.len()).any(test_only)
    };
    let tests: BTreeSet<Vec<String>> = modules.keys().filter(|path| is_test(path)).cloned().collect();
    modules.into_iter().filter(|(path, _)| !tests.contains(path)).collect()
}

/// The names that modules re-export, each with the path that it stands for.
type Exports = BTreeMap<Vec<String>, Vec<String>>;

fn exports(modules: &BTreeMap<Vec<String>, PathBuf>) -> Exports {
    let mut exports = Exports::new();
    for (module, file) in modules {
        let code = code(file);
        for (at, _) in code.match_indices("use ").filter(|(at, _)| code[..*at].trim_end().ends_with(['b', ')'])) {
            let tree = code[at + 4..].split(';').next().unwrap_or_default();
            let base: Vec<&str> = module.iter().map(String::as_str).collect();
            let mut paths = Vec::new();
            match tree.starts_with("crate::") || tree.starts_with("super::") {
                true => paths = imports(tree, module),
                false => tree_paths(tree, &base, &mut paths),
            }
            for path in paths {
                let name = path.last().cloned().unwrap_or_default();
                exports.insert(module.iter().cloned().chain([name]).collect(), path);
            }
        }
    }
    exports
}

/// Where something that a path names is defined, as far as modules tell.
fn definition(mut path: Vec<String>, exports: &Exports) -> Vec<String> {
    // A name may be handed on through several modules, but not in a circle.
    for _ in 0..8 {
        let longest = (1..=path.len()).rev().find_map(|len| Some((len, exports.get(&path[..len])?)));
        let Some((len, target)) = longest.filter(|(len, target)| path[..*len] != target[..]) else { break };
        path = target.iter().cloned().chain(path[len..].iter().cloned()).collect();
    }
    path
}

/// The order of a crate's files as `docs/design.md` has it: the units by their paths, each with its place and its group.
/// Units in parentheses are of one group, and may import each other.
fn order(design: &str, package: &str) -> BTreeMap<Vec<String>, (usize, usize)> {
    let (_, block) = design.split_once(&format!("\n{package}/src/\n")).expect("the crate's layout in docs/design.md");
    let mut order = BTreeMap::new();
    let (mut place, mut group, mut is_group) = (0, 0, false);
    for line in block.lines().take_while(|line| line.starts_with(' ')) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let folder = words.first().and_then(|word| word.strip_suffix('/')).map(str::to_owned);
        for word in words.iter().map(|word| word.trim_end_matches('/')) {
            let name = word.trim_matches(['(', ')']);
            let is_root = folder.as_deref() == Some(name) || name == "mod";
            let unit: Vec<String> = match &folder {
                Some(folder) if is_root => vec![folder.clone()],
                Some(folder) => vec![folder.clone(), name.to_owned()],
                None => vec![name.to_owned()],
            };
            is_group |= word.starts_with('(');
            group += usize::from(!is_group || word.starts_with('('));
            is_group &= !word.ends_with(')');
            place += 1;
            // A folder on several lines begins with the first, or where `mod` stands.
            if name == "mod" || !is_root || !order.contains_key(&unit) {
                let twice = order.insert(unit, (place, group)).is_some() && name != "mod";
                assert!(!twice, "{package}: {name} stands twice in docs/design.md");
            }
        }
    }
    order
}

#[test]
fn imports_are_read_off_the_source() {
    let code = "use crate::a::B;\nuse crate::{c::{D, E as F}, f,\n g::H,};\nfn x() { super::i::j() }";
    let module = ["m".to_owned(), "n".to_owned()];
    let paths: Vec<String> = imports(code, &module).iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::B", "c::D", "c::E", "f", "g::H", "m::i::j"]);
}

#[test]
fn an_order_is_read_off_the_document() {
    let order = order("\nkv/src/\n    a (b c)   # remark\n    d/ e\n    d/ mod f\n\n", "kv");
    let of = |path: &[&str]| order[&path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    let places = [of(&["a"]), of(&["b"]), of(&["c"]), of(&["d", "e"]), of(&["d"]), of(&["d", "f"])];
    assert!(places.is_sorted(), "{places:?}");
    assert!(of(&["b"]).1 == of(&["c"]).1 && of(&["a"]).1 != of(&["b"]).1 && of(&["c"]).1 != of(&["d"]).1);
}

#[test]
fn packages_depend_only_in_the_one_direction() {
    let packages: Vec<&str> = DIRECTION.iter().map(|(package, _)| *package).collect();
    for (package, allowed) in DIRECTION {
        let forbidden =
            || packages.iter().filter(|other| *other != package && !allowed.contains(other)).collect::<Vec<_>>();
        let dir = workspace().join(package);
        for file in rust_files(&dir.join("src")) {
            let code = code(&file);
            for other in forbidden() {
                // As a path: messages may well tell the user of another program.
                let knows = code.contains(&format!("{other}::")) || code.contains(&format!("use {other}"));
                assert!(!knows, "{} knows {other}", file.display());
            }
        }
        let manifest = read(&dir.join("Cargo.toml"));
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let dependency = words(line).next().unwrap_or_default();
            // Tests may bring any peer; but kvcore and kvproto do not meet even there.
            let meets = matches!(*package, "kvcore" | "kvproto") || !section.contains("dev-dependencies");
            if section.contains("dependencies") && meets {
                assert!(!forbidden().iter().any(|other| **other == dependency), "{package}: {section} {dependency}");
            }
        }
    }
}

#[test]
fn nothing_of_the_program_comes_with_the_client_library() {
    let manifest = read(&workspace().join("kvclient/Cargo.toml"));
    let (_, dependencies) = manifest.split_once("[dependencies]\n").expect("a list of dependencies");
    let (dependencies, _) = dependencies.split_once("\n[").expect("a section after it");
    for line in dependencies.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let dependency = words(line).next().unwrap_or_default();
        let is_library = ["kvproto", "thiserror"].contains(&dependency);
        assert!(is_library || line.contains("optional = true"), "{line}: only the program may need it");
    }
    assert!(manifest.contains("required-features = [\"cli\"]"), "the program asks for what it needs");
}

#[test]
fn files_import_only_what_stands_after_them() {
    let design = read(&workspace().join("docs/design.md"));
    let mut wrong = Vec::new();
    for (package, _) in DIRECTION {
        let order = order(&design, package);
        let modules = modules(&workspace().join(package).join("src"));
        let exports = exports(&modules);
        let unit_of = |path: &[String]| {
            let mut paths = (1..=path.len()).rev().map(|len| &path[..len]);
            paths.find(|path| order.contains_key(*path)).map(<[String]>::to_vec)
        };
        let missing = order.keys().filter(|unit| !modules.keys().any(|module| module.starts_with(unit)));
        wrong.extend(
            missing.map(|unit| format!("{package}: docs/design.md has {}, which is not there", unit.join("/"))),
        );
        // The roots are lists of what there is, and know all by their nature.
        for (module, file) in modules.iter().filter(|(module, _)| !module.is_empty() && module.join("/") != "main") {
            let Some(unit) =
                unit_of(module).filter(|unit| unit.len() == module.len() || !is_listed_inside(&order, unit))
            else {
                wrong.push(format!("{package}: docs/design.md does not have {}", module.join("/")));
                continue;
            };
            for path in imports(&code(file), module) {
                let Some(target) = unit_of(&definition(path, &exports)) else { continue };
                let ((from, from_group), (to, to_group)) = (order[&unit], order[&target]);
                if to >= from || to_group == from_group {
                    continue;
                }
                let (from, to) = (unit.join("/"), target.join("/"));
                wrong.push(format!("{package}: {} ({from}) imports {to}, which stands before it", module.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the files in a folder have places of their own.
fn is_listed_inside(order: &BTreeMap<Vec<String>, (usize, usize)>, folder: &[String]) -> bool {
    order.keys().any(|unit| unit.len() > folder.len() && unit.starts_with(folder))
}

#[test]
fn every_file_opens_with_what_it_is() {
    let without: Vec<String> = rust_files(&workspace())
        .into_iter()
        .filter(|file| !read(file).starts_with("//!"))
        .map(|file| file.display().to_string())
        .collect();
    assert!(without.is_empty(), "these do not begin with //!:\n{}", without.join("\n"));
}

#[test]
fn every_file_of_the_product_opens_with_its_invariant() {
    let mut without = Vec::new();
    for (package, _) in DIRECTION {
        let src = workspace().join(package).join("src");
        for file in rust_files(&src) {
            let inside = file.strip_prefix(&src).expect("a file of the package");
            // The roots are lists of modules; unit tests hold to the invariant of the file they test.
            let is_root = inside == Path::new("lib.rs") || inside == Path::new("main.rs");
            let is_test =
                inside.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
            let header: String = read(&file).lines().take_while(|line| line.starts_with("//!")).collect();
            if !is_root && !is_test && !header.contains("nvariant") {
                without.push(file.display().to_string());
            }
        }
    }
    assert!(without.is_empty(), "these do not begin with their invariant:\n{}", without.join("\n"));
}

#[test]
fn no_crate_may_use_unsafe() {
    for package in ["kvproto", "kvcore", "kvcommands", "kvserver", "kvclient", "examples", "tests"] {
        let dir = workspace().join(package);
        let manifest = read(&dir.join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package} does not take the workspace's lints");
        // Each example is a program of one file.
        let examples = package == "examples";
        let src = if examples { dir } else { dir.join("src") };
        let roots = rust_files(&src).into_iter().filter(|file| {
            let inside = file.strip_prefix(&src).expect("a file of the package");
            examples || inside == Path::new("lib.rs") || inside == Path::new("main.rs") || inside.starts_with("bin")
        });
        for root in roots {
            assert!(read(&root).contains("#![forbid(unsafe_code)]"), "{} allows unsafe code", root.display());
        }
    }
    assert!(read(&workspace().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
}

#[test]
fn the_readme_lists_every_example() {
    let readme = read(&workspace().join("README.md"));
    for dir in ["kvcore/examples", "examples"] {
        for file in rust_files(&workspace().join(dir)) {
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
            assert!(readme.contains(&format!("[`{name}`](./{dir}/{name}.rs)")), "{dir}/{name}.rs is not in README.md");
        }
    }
}

/// The server goes by the rows of the command table: what it has to know of a command is a flag or a trait of its row.
#[test]
fn the_server_compares_no_command_with_a_name() {
    let src = workspace().join("kvserver/src");
    // From a name to the function that carries the command out, and from a subcommand's own name to its part of one function.
    for file in rust_files(&src).iter().filter(|file| !file.ends_with("commands.rs")) {
        let code = code(file);
        for (at, _) in code.match_indices("spec.name") {
            let rest = code[at + "spec.name".len()..].trim_start();
            let compared = rest.starts_with("== \"") || rest.starts_with("!= \"") || rest.starts_with(", \"");
            let searched = rest.starts_with(".starts_with(") || rest.starts_with(".ends_with(");
            assert!(!compared && !searched, "{}: {}", file.display(), rest.lines().next().unwrap_or_default());
        }
        assert!(!code.contains("match spec.name"), "{}", file.display());
    }
}
