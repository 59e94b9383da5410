//! The house has floors: a room imports only from rooms below its own (see the crate's front page).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room's floor.
const FLOORS: [(&str, u32); 15] = [
    ("model", 1),
    ("config", 2),
    ("metrics", 2),
    ("store", 3),
    ("worker", 4),
    ("executor", 5),
    ("courier", 5),
    ("gate", 6),
    ("api", 7),
    ("proxy", 8),
    ("dashboard", 8),
    ("plugin", 9),
    ("demo", 10),
    ("app", 10),
    ("cli", 11),
];

fn floor(room: &str) -> Option<u32> {
    let (_, floor) = FLOORS.iter().find(|(name, _)| *name == room)?;
    Some(*floor)
}

#[test]
fn rooms_import_only_from_below() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut imports = 0;
    for file in sources(&src) {
        let path = file.strip_prefix(&src).unwrap();
        let Some(room) = room_of(path) else { continue };
        let own = floor(&room).unwrap_or_else(|| panic!("{room} has no floor; add it here"));
        let text = fs::read_to_string(&file).unwrap();
        for import in imported(&text) {
            imports += 1;
            let below = floor(&import).is_some_and(|floor| floor < own);
            if import != room && !below {
                wrong.push(format!("{} imports crate::{import}", path.display()));
            }
        }
    }
    assert!(
        imports > 100,
        "the sources were not read: {imports} imports"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::model::id;\nuse crate::{\n    store::{Store, sqlite::Settings},\n    worker::live,\n};\n\
                fn f() -> crate::api::X {}\n// crate::cli in words\n";
    assert_eq!(imported(text), ["model", "api", "store", "worker"]);
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources can be read") {
        let path = entry.expect("its entries too").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The room that a file belongs to; none for the crate's own two.
fn room_of(path: &Path) -> Option<String> {
    let first = path.components().next()?.as_os_str().to_str()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "lib" | "main")).then(|| room.to_owned())
}

/// The rooms that a source names: behind `crate::`, alone or in a list.
fn imported(text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let (mut alone, mut listed) = (Vec::new(), Vec::new());
    for (at, mark) in code.match_indices("crate::") {
        // `$crate::` and the like are none of ours.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || "_$".contains(before)) {
            continue;
        }
        let rest = &code[at + mark.len()..];
        match rest.strip_prefix('{') {
            Some(list) => listed.extend(heads(list)),
            None => alone.push(word(rest)),
        }
    }
    alone.append(&mut listed);
    // `crate::Raincheck` and other items of the crate itself are no rooms.
    alone.retain(|room| room.starts_with(char::is_lowercase));
    alone
}

/// The first word of each item of an import list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (1, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {}
            _ => continue,
        }
        if depth == 0 || (character == ',' && depth == 1) {
            heads.push(word(list[start..at].trim_start()));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}
