use std::collections::HashMap;

use super::*;

struct World {
    folder: tempfile::TempDir,
    variables: HashMap<&'static str, OsString>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().as_os_str().to_owned();
        Self {
            variables: HashMap::from([("XDG_CONFIG_HOME", home)]),
            folder,
        }
    }

    fn file(self, text: &str) -> Self {
        let file = self.folder.path().join("raincheck.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    fn find(&self, address: Option<&str>, token: Option<&str>) -> Result<Settings, Failure> {
        let access = Access {
            address: address.map(str::to_owned),
            token: token.map(|token| Secret::new(token.as_bytes())),
        };
        access.find(|name| self.variables.get(name).cloned())
    }

    fn found(&self, address: Option<&str>, token: Option<&str>) -> (String, Option<String>) {
        let settings = self.find(address, token).unwrap();
        let token = settings
            .token
            .map(|token| String::from_utf8(token.reveal().to_vec()).unwrap());
        (settings.address.to_string(), token)
    }

    fn complaint(&self) -> String {
        let failure = self.find(None, None).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        failure.message
    }
}

#[test]
fn flags_come_before_the_environment_before_the_file_before_the_default() {
    let world = World::new();
    assert_eq!(
        world.found(None, None),
        ("http://127.0.0.1:9180/".to_owned(), None)
    );
    let world = world.file("address = 'https://file'\ntoken = 'of file'\n");
    let found = ("https://file/".to_owned(), Some("of file".to_owned()));
    assert_eq!(world.found(None, None), found);
    let world = world
        .variable(ADDRESS, "http://variable:1/raincheck")
        .variable(TOKEN, "of variable");
    let found = (
        "http://variable:1/raincheck/".to_owned(),
        Some("of variable".to_owned()),
    );
    assert_eq!(world.found(None, None), found);
    let found = ("http://flag:2/".to_owned(), Some("of flag".to_owned()));
    assert_eq!(world.found(Some("flag:2"), Some("of flag")), found);
}

#[test]
fn each_key_is_looked_for_on_its_own_and_empty_variables_are_none() {
    let world = World::new()
        .file("token = 'of file'\n")
        .variable(ADDRESS, "")
        .variable(TOKEN, "");
    let found = ("http://flag/".to_owned(), Some("of file".to_owned()));
    assert_eq!(world.found(Some("http://flag"), None), found);
}

#[test]
fn the_file_is_below_home_where_xdg_says_nothing() {
    let mut world = World::new();
    let home = world.variables.remove("XDG_CONFIG_HOME").unwrap();
    fs::create_dir(world.folder.path().join(".config")).unwrap();
    fs::write(
        world.folder.path().join(".config/raincheck.toml"),
        "address = 'home:1'",
    )
    .unwrap();
    world.variables.insert("HOME", home);
    assert_eq!(world.found(None, None).0, "http://home:1/");
    world.variables.insert("XDG_CONFIG_HOME", "relative".into());
    assert_eq!(world.found(None, None).0, "http://home:1/");
    world.variables.clear();
    assert_eq!(world.found(None, None).0, "http://127.0.0.1:9180/");
}

#[test]
fn a_wrong_file_is_told_without_the_token() {
    let said = World::new().file("adress = 'x'\n").complaint();
    assert!(
        said.contains("raincheck.toml:1:") && said.contains("adress"),
        "{said}"
    );
    assert!(said.contains("address and token"), "{said}");
    let said = World::new()
        .file("address = 'x'\ntoken = 'open sesame\n")
        .complaint();
    assert!(said.contains("raincheck.toml:2:"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
    let said = World::new().file("token = 7\n").complaint();
    assert!(said.contains("string"), "{said}");
}

#[test]
fn a_wrong_address_says_where_it_is_from() {
    for wrong in [
        "",
        "ftp://x",
        "http://",
        "http://user:pass@x",
        "http://x/?a=b",
        "http://x:99999",
    ] {
        let world = World::new();
        let failure = world.find(Some(wrong), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Config, "{wrong}");
        assert!(
            failure.message.starts_with("--address: "),
            "{}",
            failure.message
        );
    }
    let said = World::new().variable(ADDRESS, "ftp://x\x1b[2J").complaint();
    assert!(
        said.starts_with("RAINCHECK_ADDRESS: ftp://x\\u{1b}[2J is no address"),
        "{said}"
    );
    let said = World::new().file("address = ':'").complaint();
    assert!(said.contains("raincheck.toml: : is no address"), "{said}");
}

#[test]
fn a_token_that_others_can_read_is_noted() {
    let world = World::new().file("token = 'x'");
    assert_eq!(world.find(None, None).unwrap().note, None);
    let file = world.folder.path().join("raincheck.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let note = world.find(None, None).unwrap().note.unwrap();
    assert!(note.contains("chmod 600"), "{note}");
    fs::write(&file, "address = 'x'").unwrap();
    assert_eq!(world.find(None, None).unwrap().note, None);
}
