//! The file as written: sections whose keys are read one by one, each remembered as known, each fault collected.

use std::{
    cell::RefCell,
    ffi::OsString,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    complaint::Complaint,
    value::{self, Converted, Value, Wrong},
};

/// What reading one file needs and finds.
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    /// Environment variables by name.
    pub(super) environment: &'a dyn Fn(&str) -> Option<OsString>,
    complaints: RefCell<Vec<Complaint>>,
    /// Every key that was asked for, with its section.
    known: RefCell<Vec<String>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        file: &'a Path,
        text: &'a str,
        environment: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        Self {
            file,
            text,
            environment,
            complaints: RefCell::default(),
            known: RefCell::default(),
        }
    }

    pub(super) fn complain(&self, at: usize, key: String, message: String) {
        self.complaints.borrow_mut().push(Complaint {
            key,
            message,
            ..Complaint::at(self.file, self.text, at)
        });
    }

    /// A path as the file means it: relative to the file's folder.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(written)
    }

    /// All complaints in the order of the file, and all known keys.
    pub(super) fn finish(self) -> (Vec<Complaint>, Vec<String>) {
        let mut complaints = self.complaints.into_inner();
        complaints.sort();
        complaints.dedup();
        (complaints, self.known.into_inner())
    }
}

/// One table of the file. What is absent from it has the default. Keys that nobody asked for by the time it is dropped
/// are complained about.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading<'a>,
    name: String,
    at: usize,
    written: Option<&'a DeTable<'a>>,
    defaults: Option<&'static DeTable<'static>>,
    /// The defaults of keys that another section has as well.
    borrowed: Option<&'static DeTable<'static>>,
    asked: RefCell<Vec<&'static str>>,
    /// Keys whose values were complained about by [`Section::optional`].
    wrong: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(super) fn root(
        reading: &'a Reading<'a>,
        written: &'a DeTable<'a>,
        defaults: &'static DeTable<'static>,
    ) -> Self {
        Self {
            reading,
            name: String::new(),
            at: 0,
            written: Some(written),
            defaults: Some(defaults),
            borrowed: None,
            asked: RefCell::default(),
            wrong: RefCell::default(),
        }
    }

    /// The value of `key`: as written, else the default. What is wrong is complained about, and counts as the default.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        convert: impl Fn(&Value<'_>) -> Converted<T>,
    ) -> T {
        self.optional(key, &convert)
            .unwrap_or_else(|| self.default(key, convert))
    }

    /// The value of `key` as written, if it is there and right.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        convert: impl Fn(&Value<'_>) -> Converted<T>,
    ) -> Option<T> {
        match convert(self.find(key)?) {
            Ok(value) => Some(value),
            Err(faults) => {
                self.wrong.borrow_mut().push(key);
                for Wrong { at, message } in faults {
                    self.reading.complain(at, self.key(key), message);
                }
                None
            }
        }
    }

    /// The value of `key`, which must be there; `write` is an example.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        write: &str,
        convert: impl Fn(&Value<'_>) -> Converted<T>,
    ) -> Option<T> {
        if self.find(key).is_none() {
            self.complain(key, format!("is missing; write {key} = {write}"));
        }
        self.optional(key, convert)
    }

    /// A table within this one, if it is there.
    pub(super) fn child(&self, key: &'static str) -> Option<Self> {
        let value = self.find(key)?;
        let Some(written) = value.get_ref().as_table() else {
            self.complain(key, value::mistyped(value, "a table", "{ … }"));
            return None;
        };
        Some(self.sub(key, value.span().start, Some(written)))
    }

    /// A table within this one; if it is not there, all of its keys have their defaults.
    pub(super) fn section(&self, key: &'static str) -> Self {
        self.child(key)
            .unwrap_or_else(|| self.sub(key, self.at, None))
    }

    /// The tables of `[[key]]`.
    pub(super) fn list(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let write = format!("[[{key}]]");
            self.complain(key, value::mistyped(value, "a list of tables", &write));
            return Vec::new();
        };
        let tables = array.iter().filter_map(|element| {
            let table = element.get_ref().as_table();
            if table.is_none() {
                let message = value::mistyped(element, "a table", &format!("[[{key}]]"));
                self.reading
                    .complain(element.span().start, self.key(key), message);
            }
            Some(self.sub(key, element.span().start, Some(table?)))
        });
        tables.collect()
    }

    /// The tables of `[key.NAME]`, by name.
    pub(super) fn named(&self, key: &'static str) -> Vec<(String, Self)> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(written) = value.get_ref().as_table() else {
            let write = format!("[{key}.NAME]");
            self.complain(key, value::mistyped(value, "a table of tables", &write));
            return Vec::new();
        };
        // Any of them has the defaults of the example.
        let all = self
            .default_of(key)
            .and_then(|all| all.get_ref().as_table());
        let example = all.and_then(|all| all.values().next());
        let defaults = example.and_then(|value| value.get_ref().as_table());
        let mut sections = Vec::new();
        for (name, value) in written {
            let full = self.key(&format!("{key}.{}", name.get_ref()));
            match value.get_ref().as_table() {
                Some(table) => {
                    let mut section = self.sub(key, name.span().start, Some(table));
                    section.defaults = defaults;
                    section.name = full;
                    sections.push((name.get_ref().to_string(), section));
                }
                None => {
                    let write = format!("[{full}]");
                    let message = value::mistyped(value, "a table", &write);
                    self.reading.complain(value.span().start, full, message);
                }
            }
        }
        sections
    }

    /// The same section, where the keys of `other` have their defaults as well.
    pub(super) fn with_keys_of(mut self, other: &Self) -> Self {
        self.borrowed = other.defaults;
        self
    }

    /// The first table of `[[key]]` as it is by default, to lend its keys' defaults.
    pub(super) fn example(&self, key: &'static str) -> Self {
        self.sub(key, self.at, None)
    }

    /// Whether `key` is written, rightly or not.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Whether `key`, read already, was not complained about: what follows from a wrong value is not worth saying.
    pub(super) fn is_right(&self, key: &'static str) -> bool {
        !self.wrong.borrow().contains(&key)
    }

    /// Whether `key` is written, for keys that belong elsewhere: it is not remembered as known here unless it is.
    pub(super) fn written(&self, key: &'static str) -> bool {
        let written = self.written.is_some_and(|table| table.contains_key(key));
        if written {
            self.asked.borrow_mut().push(key);
        }
        written
    }

    /// Complains about the table `[key.NAME]`.
    pub(super) fn complain_at_name(&self, key: &'static str, name: &str, message: &str) {
        let table = self.find(key).and_then(|all| all.get_ref().as_table());
        let entry = table.and_then(|all| all.get_key_value(name));
        let at = entry.map_or(self.at, |(key, _)| key.span().start);
        self.reading
            .complain(at, self.key(&format!("{key}.{name}")), message.to_owned());
    }

    /// Complains about the value of `key`, or about the section if the key is not there.
    pub(super) fn complain(&self, key: &'static str, message: impl Into<String>) {
        let at = self.find(key).map_or(self.at, |value| value.span().start);
        self.reading.complain(at, self.key(key), message.into());
    }

    /// Complains about the section as a whole.
    pub(super) fn complain_of_all(&self, message: impl Into<String>) {
        let name = self.name.clone();
        self.reading.complain(self.at, name, message.into());
    }

    /// Where the element `index` of the list `key` stands.
    pub(super) fn complain_of_element(&self, key: &'static str, index: usize, message: String) {
        let element = self
            .find(key)
            .and_then(|value| value.get_ref().as_array()?.get(index));
        let at = element.map_or(self.at, |element| element.span().start);
        self.reading.complain(at, self.key(key), message);
    }

    fn sub(&self, key: &'static str, at: usize, written: Option<&'a DeTable<'a>>) -> Self {
        let defaults = self
            .default_of(key)
            .and_then(|value| match value.get_ref() {
                DeValue::Table(table) => Some(table),
                DeValue::Array(tables) => {
                    tables.first().and_then(|first| first.get_ref().as_table())
                }
                _ => None,
            });
        Self {
            reading: self.reading,
            name: self.key(key),
            at,
            written,
            defaults,
            borrowed: None,
            asked: RefCell::default(),
            wrong: RefCell::default(),
        }
    }

    fn default_of(&self, key: &str) -> Option<&'static Spanned<DeValue<'static>>> {
        let own = self.defaults.and_then(|defaults| defaults.get(key));
        own.or_else(|| self.borrowed?.get(key))
    }

    fn find(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
            self.reading.known.borrow_mut().push(self.key(key));
        }
        self.written?.get(key)
    }

    fn default<T>(&self, key: &'static str, convert: impl Fn(&Value<'_>) -> Converted<T>) -> T {
        self.default_of(key)
            .and_then(|value| convert(value).ok())
            .unwrap_or_else(|| {
                unreachable!(
                    "conf/raincheck.toml has no right `{}`: a test reads it",
                    self.key(key)
                )
            })
    }

    fn key(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let asked = self.asked.borrow();
        for key in self.written.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let nearest = asked
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, name), known))
                .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
                .min();
            let hint = match nearest {
                Some((_, known)) => format!("write `{known}`"),
                None => format!("known here: {}", asked.join(", ")),
            };
            let message = format!("is no key that is known; {hint}");
            self.reading
                .complain(key.span().start, self.key(name), message);
        }
    }
}
