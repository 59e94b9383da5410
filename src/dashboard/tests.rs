//! What holds for all pages and what they load.

use super::assets;

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for (name, _, content) in assets::ALL {
        let text = String::from_utf8_lossy(content);
        assert!(
            !text.contains("@import") && !text.contains("url(http"),
            "{name}"
        );
    }
}
