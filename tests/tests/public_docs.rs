//! The reference of kvcore is whole: every public method begins with what it does, and has an example that runs. That what can fail has
//! a section `# Errors` is clippy's to see (`missing_errors_doc`), and that there is a comment at all is rustc's (`missing_docs`).

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// A public function, with the lines of its comment.
struct Documented<'a> {
    name: &'a str,
    doc: Vec<&'a str>,
    /// Of a method of a trait: the trait's comment. Its example serves for all methods, which are called, or implemented, together.
    of_trait: Vec<&'a str>,
}

fn has_example(doc: &[&str]) -> bool {
    doc.iter().any(|line| line.starts_with("```"))
}

/// The word after `keyword`, if the line declares such an item for everybody.
fn declared<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest).strip_prefix(keyword)?;
    Some(rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default())
}

/// The public functions of a file, as rustfmt writes it: what belongs to a trait is indented by four, and the trait ends with a
/// brace in the first column. Unit tests are the last thing in a file.
fn public_functions(text: &str) -> Vec<Documented<'_>> {
    let mut found = Vec::new();
    let (mut doc, mut of_trait) = (Vec::new(), None::<Vec<&str>>);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if code == "#[cfg(test)]" && !lines.peek().is_some_and(|next| next.ends_with(';')) {
            break;
        }
        if let Some(comment) = code.strip_prefix("///") {
            doc.push(comment.trim_start());
            continue;
        }
        if code.starts_with("#[") || code.starts_with("reason = ") || code == ")]" {
            continue;
        }
        let doc = std::mem::take(&mut doc);
        if line == "}" {
            of_trait = None;
        } else if declared(line, "trait ").is_some() {
            of_trait = Some(doc);
        } else if let Some(name) = declared(code, "fn ") {
            found.push(Documented { name, doc, of_trait: Vec::new() });
        } else if let (Some(of_trait), Some(rest)) = (&of_trait, line.strip_prefix("    fn ")) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.push(Documented { name, doc, of_trait: of_trait.clone() });
        }
    }
    found
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.expect("a directory's entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn functions_are_found_in_the_source() {
    let text = "/// Returns it.\npub const fn a() {}\n    pub(crate) fn b() {}\n/// T.\n///\n/// ```\n/// ```\npub trait T {\n    \
                /// Does it.\n    #[inline]\n    fn c<R>(&self);\n}\nimpl T for S {\n    fn d() {}\n}\n#[cfg(test)]\nmod tests {\n    \
                pub fn e() {}\n}\n";
    let found = public_functions(text);
    assert_eq!(found.iter().map(|function| function.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!((found[0].doc.clone(), has_example(&found[0].doc)), (vec!["Returns it."], false));
    assert!(!has_example(&found[1].doc) && has_example(&found[1].of_trait));
}

#[test]
fn every_public_method_says_what_it_does_and_has_an_example() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kvcore/src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for Documented { name, doc, of_trait } in public_functions(&text) {
            count += 1;
            let file = file.strip_prefix(&src).expect("a file of kvcore").display();
            let first = doc.first().and_then(|line| line.split([' ', ',', ':']).next()).unwrap_or_default();
            // A verb in the third person.
            if !(first.ends_with('s') && first.starts_with(|letter: char| letter.is_ascii_uppercase())) {
                wrong.push(format!("{file}: {name}: its comment begins with {first:?}, and not with what it does"));
            }
            if !has_example(&doc) && !has_example(&of_trait) {
                wrong.push(format!("{file}: {name}: no example"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 300, "only {count} functions were found: the source is written in another way");
}
