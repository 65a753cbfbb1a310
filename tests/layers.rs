//! The layers of the crate: arrows between files point down only, and no files form a circle.
//!
//! Reads the paths in all files of `src/` that begin with `crate::`, `super::`, `self::` or an imported module. Comments,
//! `#[cfg(test)]` modules and the exports of inline modules do not count. An item that a `mod.rs` re-exports counts as one
//! of the file that defines it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The rooms, and which others each may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("os", &[]),
    ("transport", &["wire", "os"]),
    ("publisher", &["wire", "os"]),
    ("delivery", &["wire", "os", "publisher"]),
    ("actors", &["wire", "os", "transport", "publisher", "delivery"]),
    ("kernel", &["wire", "os", "transport", "publisher", "delivery", "actors"]),
    ("startup", &["wire", "os", "transport", "publisher", "delivery", "actors", "kernel"]),
    ("python", &["wire", "os", "transport", "publisher", "delivery", "actors", "kernel", "startup"]),
];

#[test]
fn arrows_point_down() {
    let problems = Sources::of_the_crate().upward();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn no_files_form_a_circle() {
    let circle = Sources::of_the_crate().circle();
    assert!(
        circle.is_empty(),
        "these files form a circle: {}. Move what they share down",
        circle.join(" -> ")
    );
}

#[test]
fn every_file_is_in_a_room() {
    for file in Sources::of_the_crate().files.keys() {
        let known = ROOMS.iter().any(|(room, _)| *room == room_of(file));
        assert!(
            known || ["lib", "bin"].contains(&room_of(file)),
            "src/{file} is in no room: add its room to ROOMS"
        );
    }
}

#[test]
fn wrong_arrows_are_found() {
    let upward = |file, text| {
        Sources::new([(file, text), ("delivery/job.rs", ""), ("delivery/mod.rs", ""), ("wire/mod.rs", "")])
            .upward()
    };
    for text in [
        "use crate::delivery::job::Job;",
        "use crate::{delivery, wire};",
        "fn f() { crate::delivery::job::f() }",
    ] {
        let problems = upward("wire/a.rs", text);
        assert!(
            problems.len() == 1 && problems[0].contains("src/wire/a.rs uses delivery"),
            "{text}: {problems:?}"
        );
    }
    for text in [
        "// use crate::delivery::job::Job;",
        "#[cfg(test)]\nmod tests {\n    use crate::delivery::job::Job;\n}\n",
        "use crate::wire::Frames;",
    ] {
        assert_eq!(upward("wire/a.rs", text), [""; 0], "{text}");
    }
    assert_eq!(upward("actors/a.rs", "use crate::delivery::job::Job;"), [""; 0]);
    assert_eq!(
        upward("os/a.rs", "use crate::wire::Frames;").len(),
        1,
        "the rooms of a layer do not know each other"
    );
}

#[test]
fn circles_are_found() {
    let circle = |a, b, door| {
        Sources::new([
            ("wire/a.rs", a),
            ("wire/b.rs", b),
            ("wire/c.rs", "use super::b::B;"),
            ("wire/mod.rs", door),
        ])
        .circle()
    };
    let door = "mod a;\nmod b;\nmod c;\npub use a::A;\npub use c::{C, D as E};\n";
    for (a, b) in [
        ("use super::b::B;", "use super::a::A;"),
        ("use super::b::B;", "fn f(_: crate::wire::A) {}"),
        ("use super::b::{self, B};", "use super::E;"),
        ("use super::b;\nfn f() { b::f() }", "use crate::wire;\nfn f() -> wire::C {}"),
        ("use super::f;\n", "use super::a::{A, B};"),
    ] {
        let door = if a.contains("::f;") { "pub use b::f;\n" } else { door };
        let found = circle(a, b, door);
        assert!(found.len() > 2 && found.contains(&"src/wire/b.rs".to_owned()), "{a} | {b}: {found:?}");
    }
    assert_eq!(circle("use super::{C, b::B};", "", door), [""; 0]);
    assert_eq!(circle("use super::f;", "use super::a::A;", "pub use a::A;\npub fn f() {}\n"), [""; 0]);
    assert_eq!(
        circle("use super::f;", "", "fn f() { a::g() }\nuse self::a::g;").len(),
        3,
        "a mod.rs is a file, too"
    );
}

/// The first part of the path of a file below `src/`, without `.rs`.
fn room_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// A path of modules and items, from the root of the crate.
type Names = Vec<String>;

/// The files of a crate, by their paths below `src/`.
struct Sources {
    files: BTreeMap<String, Source>,
}

struct Source {
    /// Its module.
    module: Names,
    /// Without comments and tests.
    text: String,
    /// The items of other files that it re-exports: name here, path there.
    exports: BTreeMap<String, Names>,
}

impl Sources {
    fn of_the_crate() -> Self {
        let mut files = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.push((name, fs::read_to_string(path).unwrap()));
                }
            }
        }
        assert!(files.len() > 50, "src/ was read");
        Self::new(files)
    }

    fn new<P: Into<String>, T: AsRef<str>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let mut sources = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (path, text) in files {
            let path = path.into();
            let text = without_comments(text.as_ref());
            let module: Names = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            let module = module.into_iter().filter(|name| name != "mod" && name != "lib").collect::<Names>();
            let (text, of_tests) = without_tests(&text);
            tests.extend(of_tests.into_iter().map(|name| [&module[..], &[name]].concat()));
            sources.insert(path, Source { module, text, exports: BTreeMap::new() });
        }
        sources.retain(|_, source| !tests.contains(&source.module));
        let mut sources = Self { files: sources };
        sources.read_exports();
        sources
    }

    fn read_exports(&mut self) {
        let exports: Vec<_> = self.files.values().map(|source| self.exports_of(source)).collect();
        for (source, exports) in self.files.values_mut().zip(exports) {
            source.exports = exports;
        }
    }

    /// What `pub use` re-exports of the modules of its own folder.
    fn exports_of(&self, source: &Source) -> BTreeMap<String, Names> {
        let mut exports = BTreeMap::new();
        for (is_public, tree) in uses(&source.text) {
            for (path, name) in tree.into_iter().filter(|_| is_public) {
                let path = self.absolute(&source.module, path);
                if path.starts_with(&source.module) && self.module_of(&path).is_some_and(|(_, rest)| rest > 0)
                {
                    exports.insert(name, path);
                }
            }
        }
        exports
    }

    /// Resolves `crate`, `self`, `super` and modules that are children of `module` at the start of a path.
    fn absolute(&self, module: &[String], mut path: Names) -> Names {
        let mut base = module.to_vec();
        let is_child = |name: &String| {
            let child = [module, std::slice::from_ref(name)].concat();
            self.files.values().any(|source| source.module == child)
        };
        match path.first().map(String::as_str) {
            Some("crate") => base.clear(),
            Some("super" | "self") => {}
            Some(_) if is_child(&path[0]) => return [base, path].concat(),
            _ => return Vec::new(),
        }
        while let Some("crate" | "self" | "super") = path.first().map(String::as_str) {
            if path.remove(0) == "super" {
                base.pop();
            }
        }
        [base, path].concat()
    }

    /// The file that a path leads into, and how many names of the path are left there.
    fn module_of(&self, path: &[String]) -> Option<(&String, usize)> {
        (1..=path.len()).rev().find_map(|length| {
            let found = self.files.iter().find(|(_, source)| source.module == path[..length])?;
            Some((found.0, path.len() - length))
        })
    }

    /// The file that defines what a path names.
    fn file_of(&self, path: &[String]) -> Option<&String> {
        let (file, left) = self.module_of(path)?;
        let export = path.get(path.len() - left).and_then(|item| self.files[file].exports.get(item));
        export.map_or(Some(file), |export| self.file_of(export))
    }

    /// The files that a file uses.
    fn used_by(&self, file: &str) -> BTreeSet<&String> {
        let source = &self.files[file];
        let mut paths = Vec::new();
        let mut imported = BTreeMap::new();
        for (is_public, tree) in uses(&source.text) {
            for (path, name) in tree {
                let path = self.absolute(&source.module, path);
                if is_public && source.exports.get(&name) == Some(&path) {
                    continue;
                }
                if self.module_of(&path).is_some_and(|(_, rest)| rest == 0) {
                    imported.insert(name, path.clone());
                }
                paths.push(path);
            }
        }
        for path in paths_of(&without_uses(&source.text)) {
            match imported.get(&path[0]) {
                Some(module) => paths.push([module, &path[1..]].concat()),
                None if ["crate", "super", "self"].contains(&&*path[0]) => {
                    paths.push(self.absolute(&source.module, path));
                }
                None => {}
            }
        }
        let mut used: BTreeSet<_> = paths.iter().filter_map(|path| self.file_of(path)).collect();
        used.retain(|used| *used != file);
        used
    }

    fn upward(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for file in self.files.keys() {
            let room = room_of(file);
            let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else { continue };
            let used: BTreeSet<_> = self.used_by(file).into_iter().map(|used| room_of(used)).collect();
            for wrong in used.into_iter().filter(|used| *used != room && !allowed.contains(used)) {
                let mut problem = format!("src/{file} uses {wrong}, which is not below {room}: ");
                let below = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
                write!(problem, "{room} may use {below}. Move what both need down, or pass it in").unwrap();
                problems.push(problem);
            }
        }
        problems
    }

    /// A circle of files, if there is one; the first one stands at its end again.
    fn circle(&self) -> Vec<String> {
        let arrows: BTreeMap<_, _> = self.files.keys().map(|file| (file, self.used_by(file))).collect();
        let mut done = BTreeSet::new();
        arrows.keys().find_map(|file| follow(file, &arrows, &mut Vec::new(), &mut done)).unwrap_or_default()
    }
}

fn follow<'a>(
    file: &'a String,
    arrows: &BTreeMap<&'a String, BTreeSet<&'a String>>,
    way: &mut Vec<&'a String>,
    done: &mut BTreeSet<&'a String>,
) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|before| *before == file) {
        return Some(way[at..].iter().copied().chain([file]).map(|file| format!("src/{file}")).collect());
    }
    if !done.insert(file) {
        return None;
    }
    way.push(file);
    let found = arrows[file].iter().find_map(|next| follow(next, arrows, way, done));
    way.pop();
    found
}

/// A source text without its comments. No file has a path behind a `//` in a string.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at])).collect::<Vec<_>>().join("\n")
}

/// A source text without its `#[cfg(test)]` modules, and the names of those that are files of their own.
fn without_tests(text: &str) -> (String, Vec<String>) {
    let (mut kept, mut names) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let item = lines.find(|line| !line.starts_with("#[")).unwrap_or_default();
        if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            names.push(name.to_owned());
        } else if item.ends_with('{') {
            // rustfmt puts the end of an item where it began.
            lines.find(|line| *line == "}");
        }
    }
    (kept, names)
}

/// The `use` items of a text: whether each is public, and its paths with the names they get.
fn uses(text: &str) -> Vec<(bool, Vec<(Names, String)>)> {
    let starts = text.match_indices("use ").filter(|(at, _)| is_use(text, *at));
    starts
        .map(|(at, _)| {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let tree = text[at + 4..].split(';').next().unwrap_or_default();
            (text[line..at].contains("pub"), expand(&tree.split_whitespace().collect::<Vec<_>>().join(" ")))
        })
        .collect()
}

/// Whether `use ` at this place begins an item.
fn is_use(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = text[line..at].trim();
    before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'))
}

fn without_uses(text: &str) -> String {
    let mut kept = text.to_owned();
    let starts: Vec<_> =
        text.match_indices("use ").map(|(at, _)| at).filter(|at| is_use(text, *at)).collect();
    for at in starts.into_iter().rev() {
        let end = kept[at..].find(';').map_or(kept.len(), |end| at + end);
        kept.replace_range(at..end, "");
    }
    kept
}

/// The paths of a use tree such as `a::{b as c, d::{self, e}}`, and the names they get.
fn expand(tree: &str) -> Vec<(Names, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
        let mut path: Names = path.split("::").map(|name| name.trim().to_owned()).collect();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self" || last == "*") {
            path.pop();
        }
        let name = name.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
        return vec![(path, name)];
    };
    let prefix = &tree[..open];
    let (mut depth, mut start, mut parts) = (0, open + 1, Vec::new());
    for (at, c) in tree.char_indices().skip_while(|(at, _)| *at <= open) {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(&format!("{prefix}{}", part.trim()))).collect()
}

/// The paths of several names in a text.
fn paths_of(text: &str) -> Vec<Names> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let names =
        |word: &str| word.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect::<Names>();
    words.map(names).filter(|names| names.len() > 1).collect()
}
