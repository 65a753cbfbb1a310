//! Where a cell runs: in its shell's queue, as a task beside it, or in a thread.
//!
//! A client can name a run mode in four places; the first of them that does counts:
//!
//! 1. the message header: `"run_mode": "task"` (custom messages),
//! 2. the message metadata: `"run_mode": "task"`,
//! 3. a tag of the cell, in the metadata's `tags`,
//! 4. the first line of the code, as a comment: `# task`.
//!
//! All of them have one grammar: `queue`, `task`, `thread`, or `thread` with options,
//! `thread name="My thread" backend=trio`. A `silent` cell that names no mode is a task: it does
//! not wait for the queue.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::metadata::Metadata;
use super::sanitize::quoted;

/// Where a cell runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// After the cells that were sent before it.
    Queue,
    /// At once, as a task in the shell's thread.
    Task,
    /// At once, in another thread: that of the Caller with this name, or of a worker.
    Thread(CallerOptions),
}

/// The Caller that a cell or a call asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerOptions {
    /// The Caller with this name, made if there is none. Without a name: a worker.
    pub name: Option<String>,
    /// Its event loop; without one that of its parent.
    pub backend: Option<Backend>,
    /// Whether an asyncio loop is uvloop's; without it uvloop is used where it is installed.
    pub use_uvloop: Option<bool>,
}

/// Whose event loop a Caller runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The standard library's, or uvloop.
    #[default]
    Asyncio,
    /// <https://trio.readthedocs.io>
    Trio,
}

/// Why a text is not a run mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunModeError {
    /// Not one of the modes.
    #[error("{} is not a run mode: use queue, task, thread, or thread with options ({OPTIONS})", quoted(.0))]
    Unknown(String),
    /// Not one of the options.
    #[error("thread has no option {}: the options are {OPTIONS}", quoted(.0))]
    Option(String),
    /// A value that the option does not take.
    #[error("{} is not a value for the option {option}: the options are {OPTIONS}", quoted(.value))]
    Value {
        /// The option.
        option: String,
        /// What it was given.
        value: String,
    },
    /// A quote without its other half.
    #[error("a quotation mark is not closed in {}", quoted(.0))]
    Quote(String),
}

const OPTIONS: &str = "name=\"...\", backend=asyncio|trio, use_uvloop=true|false";

impl RunMode {
    /// The mode of a cell, from the first place where its client has named one. `header` is the mode that the
    /// message's header names.
    pub fn of(
        header: Option<&Value>,
        metadata: &Metadata,
        code: &str,
        silent: bool,
    ) -> Result<Self, RunModeError> {
        let Metadata { run_mode, tags } = metadata;
        for named in [header, Some(run_mode)].into_iter().flatten() {
            match named {
                Value::Null => {}
                Value::String(mode) => return Self::parse(mode),
                other => return Err(RunModeError::Unknown(other.to_string())),
            }
        }
        let tags = tags.as_array().map(Vec::as_slice).unwrap_or_default();
        for tag in tags.iter().filter_map(Value::as_str) {
            if let Some(mode) = Self::parse_note(uncommented(tag).unwrap_or(tag)) {
                return mode;
            }
        }
        let first = code.trim_start().lines().next().unwrap_or_default();
        match uncommented(first).and_then(Self::parse_note) {
            Some(mode) => mode,
            None => Ok(if silent { Self::Task } else { Self::Queue }),
        }
    }

    /// Reads a mode from a text that must be one. The form of a comment, `# task`, is accepted as well.
    pub fn parse(text: &str) -> Result<Self, RunModeError> {
        let text = uncommented(text).unwrap_or(text).trim();
        Self::parse_note(text).unwrap_or_else(|| Err(RunModeError::Unknown(text.to_owned())))
    }

    /// Reads a mode from a text that may be another (a comment, a tag). None if it is.
    fn parse_note(text: &str) -> Option<Result<Self, RunModeError>> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match (word, rest.trim()) {
            ("queue", "") => Some(Ok(Self::Queue)),
            ("task", "") => Some(Ok(Self::Task)),
            ("thread", "") => Some(Ok(Self::Thread(CallerOptions::default()))),
            // "# thread safety matters" is a comment.
            ("thread", options) if starts_with_option(options) => {
                Some(CallerOptions::parse(options).map(Self::Thread))
            }
            _ => None,
        }
    }
}

impl CallerOptions {
    /// Reads options such as `name="My thread" backend=trio`.
    pub fn parse(text: &str) -> Result<Self, RunModeError> {
        let mut options = Self::default();
        for word in words(text)? {
            let Some((option, value)) = word.split_once('=') else {
                return Err(RunModeError::Option(word));
            };
            let bad = || RunModeError::Value { option: option.to_owned(), value: value.to_owned() };
            match option {
                "name" if value.is_empty() => return Err(bad()),
                "name" => options.name = Some(value.to_owned()),
                "backend" => options.backend = Some(Backend::parse(value).ok_or_else(bad)?),
                "use_uvloop" => {
                    options.use_uvloop = match value {
                        "true" | "True" => Some(true),
                        "false" | "False" => Some(false),
                        _ => return Err(bad()),
                    };
                }
                _ => return Err(RunModeError::Option(option.to_owned())),
            }
        }
        Ok(options)
    }
}

impl Backend {
    /// The backend with this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "asyncio" => Some(Self::Asyncio),
            "trio" => Some(Self::Trio),
            _ => None,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asyncio => "asyncio",
            Self::Trio => "trio",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text of a comment that can name a mode.
fn uncommented(line: &str) -> Option<&str> {
    line.strip_prefix("##").or_else(|| line.strip_prefix("# "))
}

fn starts_with_option(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default();
    name.len() < text.len() && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits text at white space that is not quoted, as a shell does.
fn words(text: &str) -> Result<Vec<String>, RunModeError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(RunModeError::Quote(text.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(
        header: Option<&Value>,
        metadata: &[u8],
        code: &str,
        silent: bool,
    ) -> Result<RunMode, RunModeError> {
        RunMode::of(header, &Metadata::read(metadata), code, silent)
    }

    fn of_code(code: &str) -> Result<RunMode, RunModeError> {
        of(None, b"{}", code, false)
    }

    fn named(name: &str) -> RunMode {
        RunMode::Thread(CallerOptions { name: Some(name.to_owned()), ..CallerOptions::default() })
    }

    #[test]
    fn the_first_line_names_a_mode() {
        assert_eq!(of_code("# task\n1"), Ok(RunMode::Task));
        assert_eq!(of_code("\n  # task  \n1"), Ok(RunMode::Task));
        assert_eq!(of_code("## task"), Ok(RunMode::Task));
        assert_eq!(of_code("# thread\n1"), Ok(RunMode::Thread(CallerOptions::default())));
        assert_eq!(of_code("# queue"), Ok(RunMode::Queue));
        assert_eq!(of_code("# thread name='My thread'\n%callers"), Ok(named("My thread")));
        let both = CallerOptions {
            name: Some("a b".to_owned()),
            backend: Some(Backend::Trio),
            use_uvloop: Some(false),
        };
        assert_eq!(of_code("# thread backend=trio name=\"a b\" use_uvloop=False"), Ok(RunMode::Thread(both)));
    }

    #[test]
    fn other_comments_and_code_name_none() {
        for code in [
            "",
            "1",
            "task",
            "#task",
            "# tasks",
            "# task list",
            "# thread safety",
            "# thread safety = good",
            "# thread: a=b",
            "x = 1 # task",
            "x\n# task",
            "# the task",
        ] {
            assert_eq!(of_code(code), Ok(RunMode::Queue), "{code:?}");
        }
    }

    #[test]
    fn errors_list_the_options() {
        for code in [
            "# thread nam=x",
            "# thread name=",
            "# thread backend=curio",
            "# thread use_uvloop=maybe",
            "# thread name=x y",
        ] {
            let error = of_code(code).unwrap_err();
            assert!(error.to_string().contains("backend=asyncio|trio"), "{error}");
        }
        assert_eq!(of_code("# thread name=\"x"), Err(RunModeError::Quote("name=\"x".to_owned())));
    }

    #[test]
    fn errors_are_short() {
        for (code, shown) in [
            ("# thread nam=x", "\"nam\":"),
            ("# thread name=\"\u{fc}\" \"a b\"", "\"a b\":"),
            ("# thread a='", "\"a='\""),
        ] {
            let error = of_code(code).unwrap_err().to_string();
            assert!(error.contains(shown), "{error}");
        }
        let long = "\u{1f980}".repeat(100_000);
        for mode in [
            long.clone(),
            format!("thread {long}=1"),
            format!("thread a{long}=1"),
            format!("thread name=a {long}"),
            format!("thread backend={long}"),
            format!("thread name='{long}"),
        ] {
            let error = RunMode::parse(&mode).unwrap_err().to_string();
            assert!(error.contains("\u{1f980}\"...") && error.len() < 1000, "{error:.200}");
        }
    }

    #[test]
    fn header_goes_before_metadata_before_tags_before_code() {
        let all = json!({"run_mode": "thread name=meta", "tags": ["x", "thread name=tag"]}).to_string();
        let tags = json!({"tags": [1, "x", "thread name=tag", "task"]}).to_string();
        let code = "# thread name=code";
        let header = json!("# task");
        assert_eq!(of(Some(&header), all.as_bytes(), code, false), Ok(RunMode::Task));
        assert_eq!(of(None, all.as_bytes(), code, false), Ok(named("meta")));
        assert_eq!(of(Some(&Value::Null), tags.as_bytes(), code, true), Ok(named("tag")));
        assert_eq!(of(None, b"{}", code, true), Ok(named("code")));
        assert_eq!(of(None, b"{}", "", true), Ok(RunMode::Task));
    }

    #[test]
    fn header_and_metadata_must_name_a_mode() {
        let bad = json!({"run_mode": "later"}).to_string();
        assert!(of(None, bad.as_bytes(), "", false).is_err());
        assert!(of(Some(&json!(3)), b"{}", "", false).is_err());
        assert!(RunMode::parse("thread safety").is_err());
        for metadata in ["[]", "{\"tags\": 3}", "{\"tags\": {\"a\": 1}}", "x"] {
            assert_eq!(of(None, metadata.as_bytes(), "", false), Ok(RunMode::Queue), "{metadata}");
        }
    }
}
