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
    ("kvserver", &["kvcore", "kvproto", "kvcommands"]),
    ("kvclient", &["kvproto"]),
];

/// kvcore's modules, layer by layer: a module imports only what stands in its own layer or before it.
const LAYERS: &[&[&str]] = &[
    // What everything is said in.
    &["sync", "lsn", "error", "durability", "observer", "stats", "value", "hash"],
    &["io"],
    &["log"],
    &["table", "txn", "watch"],
    &["options"],
    &["recovery"],
    // The whole.
    &[
        "storage",
        "background",
        "verify",
        "backup",
        "engine",
        "view",
        "transaction",
        "iter",
        "store",
        "deferred",
        "keyspace",
        "hooks",
        "db",
    ],
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

/// The first names after each `prefix` in `code`: `crate::a::b` gives `a`, `crate::{a::b, c::{d, e}}` gives `a`, `c`.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let first_word = |text: &str| words(text.trim_start()).next().unwrap_or_default().to_owned();
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut begins = true;
            for (offset, letter) in group.char_indices() {
                if begins && !letter.is_whitespace() {
                    names.insert(first_word(&group[offset..]));
                    begins = false;
                }
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => begins = true,
                    _ => {}
                }
            }
        } else {
            names.insert(first_word(rest));
        }
    }
    // A trailing comma before a group's end begins nothing.
    names.remove("");
    names
}

#[test]
fn imports_are_read_off_the_source() {
    let code = "use crate::a::B;\nuse crate::{c::{D, E}, f,\n g::H,};\nfn x() { crate::i::j() }";
    let names = names_after(code, "crate::");
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c", "f", "g", "i"]);
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
fn modules_of_kvcore_import_only_what_stands_before_them() {
    let src = workspace().join("kvcore/src");
    let layer_of: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    let exported = exports(&code(&src.join("lib.rs")));
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).expect("a file of kvcore");
        let module = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let module = module.trim_end_matches(".rs");
        let is_test = inside.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
        // lib.rs is the index, and knows all by its nature.
        if module == "lib" || is_test {
            continue;
        }
        let Some(&layer) = layer_of.get(module) else {
            wrong.push(format!("{module} stands in no layer of this test: say in which it belongs"));
            continue;
        };
        let code = code(&file);
        let mut imported = names_after(&code, "crate::");
        // At the top, `super` is the crate; deeper, it is the module itself.
        if inside.components().count() == 1 && module != "mod" {
            imported.extend(names_after(&code, "super::"));
        }
        for name in imported {
            // A name that lib.rs exports stands for the module it comes from.
            let target = exported.get(&name).unwrap_or(&name);
            match layer_of.get(target.as_str()) {
                Some(&other) if other > layer => {
                    wrong.push(format!("{module} imports {target}, which stands after it"))
                }
                Some(_) => {}
                None => wrong.push(format!("{module} imports {name}, which is no module this test knows")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names that a `lib.rs` re-exports, each with the module it comes from.
fn exports(lib: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for statement in lib.split(';') {
        let Some(path) = statement.trim_start().rsplit("pub use ").next().filter(|_| statement.contains("pub use "))
        else {
            continue;
        };
        let mut words = words(path).filter(|word| !word.is_empty() && *word != "crate" && *word != "self");
        let Some(module) = words.next() else { continue };
        for name in words {
            exports.insert(name.to_owned(), module.to_owned());
        }
    }
    exports
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
