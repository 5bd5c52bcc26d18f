//! The documents are true: files named exist, links resolve, and `unsafe` lies where ARCHITECTURE.md says.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of the project with one of these extensions, as paths from its root.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rooms = vec![root().to_path_buf()];
    while let Some(room) = rooms.pop() {
        for entry in fs::read_dir(room).expect("a room") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if name.starts_with('.') && name != ".ci" || name == "target" {
                continue;
            }
            if path.is_dir() {
                rooms.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
            {
                found.push(path.strip_prefix(root()).expect("beneath it").to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of the crates' own sources.
fn sources() -> Vec<PathBuf> {
    files(&["rs"])
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .collect()
}

fn word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part)
            && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// Whether a source file contains unsafe code, tests apart.
fn has_unsafe(path: &Path) -> bool {
    let text = read(path);
    let code = text
        .split("\n#[cfg(test)]\nmod ")
        .next()
        .expect("a first part");
    path.file_name().is_none_or(|name| name != "tests.rs")
        && code
            .lines()
            .map(|line| line.split("//").next().unwrap_or(""))
            .any(|line| word(line, "unsafe"))
}

/// What is between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let rows: String = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect::<Vec<_>>()
        .join("\n");
    let missing: Vec<String> = quoted(&rows)
        .filter(|name| name.contains('/') && !name.contains(' '))
        .filter(|name| !root().join(name).exists())
        .map(|name| format!("ARCHITECTURE.md names `{name}`, which does not exist"))
        .collect();
    assert_none(&missing);
}

#[test]
fn unsafe_code_lies_where_the_architecture_says() {
    let text = read(Path::new("ARCHITECTURE.md"));
    let listed = text
        .split("<!-- unsafe -->")
        .nth(1)
        .and_then(|rest| rest.split("<!-- /unsafe -->").next());
    let listed: BTreeSet<PathBuf> = quoted(listed.expect("the list is marked"))
        .map(PathBuf::from)
        .collect();
    let actual: BTreeSet<PathBuf> = sources()
        .into_iter()
        .filter(|path| has_unsafe(path))
        .collect();
    let more = actual
        .difference(&listed)
        .map(|path| format!("{} contains unsafe code and is not listed", path.display()));
    let fewer = listed
        .difference(&actual)
        .map(|path| format!("{} is listed and contains no unsafe code", path.display()));
    assert_none(&more.chain(fewer).collect::<Vec<_>>());
}

#[test]
fn compilers_contain_no_unsafe_code() {
    let rooms = ["wasm", "frame", "ir", "suspension", "tier0", "tier1"]
        .map(|room| Path::new("jit/src").join(room));
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|path| rooms.iter().any(|room| path.starts_with(room)) && has_unsafe(path))
        .map(|path| format!("{} contains unsafe code", path.display()))
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_source_file_opens_with_its_duty() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| format!("{} does not open with `//!`", path.display()))
        .collect();
    assert_none(&wrong);
}

/// An essay is `[essay: name]` in the file it is at home in; others link to it as `[essay: name]` in a sentence.
#[test]
fn every_essay_that_is_linked_to_is_written() {
    let mut homes = BTreeSet::new();
    let mut links = Vec::new();
    for path in files(&["rs", "md"])
        .into_iter()
        .filter(|path| path != Path::new("tests/tidy.rs"))
    {
        for (number, line) in read(&path).lines().enumerate() {
            for essay in line
                .split("[essay: ")
                .skip(1)
                .filter_map(|rest| rest.split(']').next())
            {
                if line.trim() == format!("//! [essay: {essay}]") {
                    assert!(
                        homes.insert(essay.to_owned()),
                        "two files are the home of the essay on {essay}"
                    );
                } else {
                    links.push((
                        format!("{}:{}", path.display(), number + 1),
                        essay.to_owned(),
                    ));
                }
            }
        }
    }
    let wrong: Vec<String> = links
        .into_iter()
        .filter(|(_, essay)| !homes.contains(essay))
        .map(|(place, essay)| format!("{place} links to an essay on {essay}, which nobody wrote"))
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_invariant_that_is_cited_is_stated() {
    let mut stated = BTreeSet::new();
    let mut cited = Vec::new();
    for path in files(&["rs"])
        .into_iter()
        .filter(|path| path != Path::new("tests/tidy.rs"))
    {
        for (number, line) in read(&path).lines().enumerate() {
            for name in line
                .split("**Invariant (")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                if line.contains(&format!("**Invariant ({name}).**")) {
                    stated.insert(name.to_owned());
                }
                cited.push((
                    format!("{}:{}", path.display(), number + 1),
                    name.to_owned(),
                ));
            }
        }
    }
    let wrong: Vec<String> = cited
        .into_iter()
        .filter(|(_, name)| !stated.contains(name))
        .map(|(place, name)| {
            format!("{place} cites the invariant `{name}`, which is stated nowhere")
        })
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_relative_link_resolves() {
    let mut wrong = Vec::new();
    for path in files(&["md"]) {
        let text = read(&path);
        let room = path.parent().expect("a room");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().expect("a first part");
            if file.is_empty() || file.contains("://") || file.contains([' ', '`']) {
                continue;
            }
            if !root().join(room).join(file).exists() {
                wrong.push(format!(
                    "{} links to {target}, which does not exist",
                    path.display()
                ));
            }
        }
    }
    assert_none(&wrong);
}

/// The project speaks of itself alone.
#[test]
fn no_file_speaks_of_where_it_was_written() {
    let words = [concat!("/wo", "rk/"), concat!("sess", "ion")];
    let mut wrong = Vec::new();
    for path in files(&["rs", "md", "toml", "wat", "yml", "sh"]) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in words
                .iter()
                .filter(|word| line.to_lowercase().contains(**word))
            {
                wrong.push(format!("{}:{} says `{word}`", path.display(), number + 1));
            }
        }
    }
    assert_none(&wrong);
}
