//! The default of every key: `conf/raincheck.toml`, which is the operator's manual too.

use std::sync::LazyLock;

use toml::de::DeTable;

/// The file as operators read it.
pub const TEXT: &str = include_str!("../../conf/raincheck.toml");

/// Its keys, those included that are commented out because leaving them out means something else: their sections'
/// keys have defaults as well.
pub(super) fn table() -> &'static DeTable<'static> {
    static TABLE: LazyLock<DeTable<'static>> = LazyLock::new(|| {
        // Kept for the whole life of the program, as the table is.
        let text: &'static str = with_optional(TEXT).leak();
        DeTable::parse(text)
            .expect("conf/raincheck.toml is TOML: a test reads it")
            .into_inner()
    });
    &TABLE
}

/// Takes the `# ` away from each line that is a key or a section commented out.
pub(super) fn with_optional(text: &str) -> String {
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_toml(rest) => rest,
        Some(_) | None => line,
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn is_toml(line: &str) -> bool {
    let key = line.split(' ').next().unwrap_or_default();
    let named = !key.is_empty()
        && key
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    line.starts_with('[') || (named && line[key.len()..].starts_with(" = "))
}
