//! The house: which module may name which. Reads the sources, so that a shortcut shows in review.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Bottom up; modules of one floor do not name each other.
const FLOORS: [&[&str]; 8] = [
    &["units"],
    &["error"],
    &["math", "circuit"],
    &["device"],
    &["ring"],
    &["rlwe"],
    &["ckks", "tfhe"],
    &["bridge", "ml"],
];

/// Names at the crate's root that stand for something in a module.
const REEXPORTS: [(&str, &str); 3] = [("Device", "device"), ("Error", "error"), ("Result", "error")];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = vec![];
    walk(&root, &mut out);
    let mut out: Vec<_> = out.into_iter().map(|(p, t)| (p.strip_prefix(&root).unwrap().to_path_buf(), t)).collect();
    out.sort();
    out
}

/// The code without comments and string literals, line by line as it was.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|&c| c == '\n'));
        rest = &rest[skip..];
    }
    out
}

fn ident(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// First names of a use tree: of `{a::b, c}` these are `a` and `c`, of `a::b` it is `a`.
fn heads(tree: &str) -> Vec<String> {
    let tree = tree.trim_start();
    let Some(group) = tree.strip_prefix('{') else { return vec![ident(tree).into()] };
    let (mut depth, mut start, mut out) = (0, 0, vec![]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                out.push(ident(group[start..at].trim_start()).to_string());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

/// Names at the crate's root that a file uses, with their lines: through `crate::`, and through enough `super::`.
fn root_names(path: &Path, text: &str) -> Vec<(usize, String)> {
    let code = code(text);
    // `super` from src/x/y.rs is x, from src/x/mod.rs the root; every inline module adds one, so one more than needed is
    // looked at: a name that is no module at the root does no harm.
    let is_mod = path.file_stem().is_some_and(|s| s == "mod");
    let depth = path.components().count() - usize::from(is_mod);
    let mut out = vec![];
    let mut find = |prefix: &str, exact: bool| {
        for (at, _) in code.match_indices(prefix) {
            let before = &code[..at];
            if exact && (before.ends_with("::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            out.extend(heads(&code[at + prefix.len()..]).into_iter().map(|name| (line, name)));
        }
    };
    find("crate::", true);
    for count in [depth, depth + 1] {
        find(&"super::".repeat(count), true);
    }
    out
}

/// The module at the root that a file belongs to; `None` for lib.rs, which may name everything.
fn module_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then(|| name.to_string())
}

/// Which module names which, with the places.
fn edges() -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut edges: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(from) = module_of(&path) else { continue };
        for (line, name) in root_names(&path, &text) {
            let to = REEXPORTS.iter().find(|(short, _)| *short == name).map_or(name.as_str(), |(_, module)| module);
            if floor(to).is_some() && to != from {
                let place = format!("src/{}:{line}", path.display());
                edges.entry((from.clone(), to.to_string())).or_default().insert(place);
            }
        }
    }
    edges
}

#[test]
fn every_module_has_a_floor() {
    for (path, text) in sources() {
        match module_of(&path) {
            Some(module) => assert!(floor(&module).is_some(), "src/{} is on no floor", path.display()),
            None => {
                for line in code(&text).lines().map(str::trim) {
                    let declared = line.strip_prefix("pub mod ").or(line.strip_prefix("mod "));
                    if let Some(name) = declared.map(ident) {
                        assert!(floor(name).is_some(), "module {name} is on no floor");
                    }
                }
            }
        }
    }
}

#[test]
fn no_module_names_a_floor_above_it_or_its_neighbour() {
    let edges = edges();
    assert!(edges.len() > 15, "the sources are read: {edges:?}");
    let wrong: Vec<String> = edges
        .iter()
        .filter(|((from, to), _)| floor(to) >= floor(from))
        .map(|((from, to), places)| format!("{from} names {to}: {places:?}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn circuits_know_neither_mathematics_nor_devices() {
    for ((from, to), places) in edges() {
        assert!(from != "circuit" || ["units", "error"].contains(&to.as_str()), "circuit names {to}: {places:?}");
    }
}

#[test]
fn there_is_no_cycle() {
    let mut left: BTreeSet<(String, String)> = edges().into_keys().collect();
    // Take away modules that name nothing any more, until nothing changes.
    loop {
        let sources: BTreeSet<String> = left.iter().map(|(from, _)| from.clone()).collect();
        let before = left.len();
        left.retain(|(_, to)| sources.contains(to));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn secrets_stay_on_the_host() {
    let all = sources();
    let (_, text) = all.iter().find(|(path, _)| path == Path::new("rlwe/secret.rs")).expect("src/rlwe/secret.rs");
    for (number, line) in text.lines().enumerate() {
        assert!(!line.to_lowercase().contains("device"), "src/rlwe/secret.rs:{}: {line}", number + 1);
    }
}

#[test]
fn nothing_above_the_device_asks_what_kind_it_is() {
    for (path, text) in sources() {
        if path.starts_with("device") || path == Path::new("lib.rs") {
            continue;
        }
        for (number, line) in code(&text).lines().enumerate() {
            for word in ["DeviceKind", "is_gpu", "is_cpu", ".kind()", "wgpu"] {
                assert!(!line.contains(word), "src/{}:{}: {word}: {line}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_reader_understands_what_it_reads() {
    let names =
        |path: &str, text: &str| root_names(Path::new(path), text).into_iter().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!(names("a/b.rs", "use crate::math::{x, y};\nfn f() { crate::ckks::g() }"), ["math", "ckks"]);
    assert_eq!(names("a/b.rs", "use crate::{ring::{self, X}, units::Y,};"), ["ring", "units"]);
    assert_eq!(names("a/mod.rs", "use super::ml::X;"), ["ml"]);
    assert_eq!(names("a/b.rs", "use super::super::ml::X;\nuse super::near::Y;"), ["ml"]);
    assert!(
        names("a/b.rs", "// crate::ml\n/* crate::ml */ let s = \"crate::ml \\\" crate::ml\"; $crate::ml").len() <= 1
    );
    assert_eq!(code("a // b\n\"c // d\" e"), "a \n e");
}
