//! Name, version and features of the kernel (Jupyter protocol, "Kernel info"; JEP 92 for the features).

use serde::{Deserialize, Serialize};

use super::reply;

/// Asks for name, version and features of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfoRequest {}

/// Name, version and features of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfoReply {
    /// Always `"ok"`.
    pub status: reply::Ok,
    /// The version of the messaging protocol, such as `5.5`.
    pub protocol_version: String,
    /// The kernel's name.
    pub implementation: String,
    /// The kernel's version.
    pub implementation_version: String,
    /// The language that the kernel runs.
    pub language_info: LanguageInfo,
    /// A text that a console shows first.
    pub banner: String,
    /// Whether there is a debugger; deprecated since 5.5, see `supported_features`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debugger: Option<bool>,
    /// Links for the frontend's help menu.
    #[serde(default)]
    pub help_links: Vec<HelpLink>,
    /// The optional features, such as `debugger` and `kernel subshells` (JEP 92).
    #[serde(default)]
    pub supported_features: Vec<String>,
}

/// A language, as frontends need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageInfo {
    /// The name, such as `python`.
    pub name: String,
    /// The version, such as `3.13.1`.
    pub version: String,
    /// The MIME type of its source files.
    pub mimetype: String,
    /// The extension of its source files, with the dot.
    pub file_extension: String,
    /// The Pygments lexer, if not named as the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pygments_lexer: Option<String>,
    /// The `CodeMirror` mode, a string or an object, if not named as the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codemirror_mode: Option<serde_json::Value>,
    /// The nbconvert exporter, if not the general `script`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbconvert_exporter: Option<String>,
}

/// A link for the help menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpLink {
    /// What the menu shows.
    pub text: String,
    /// Where the link leads.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::super::sample::{read, round_trip};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_empty() {
        assert_eq!(round_trip::<KernelInfoRequest>("{}"), read(r#"{"unknown": 1}"#));
    }

    #[test]
    fn a_reply_is_read_and_written() {
        let reply: KernelInfoReply = round_trip(
            r#"{
                "status": "ok",
                "protocol_version": "5.5",
                "implementation": "ipython",
                "implementation_version": "9.18.1",
                "language_info": {
                    "name": "python",
                    "version": "3.11.7",
                    "mimetype": "text/x-python",
                    "codemirror_mode": {"name": "ipython", "version": 3},
                    "pygments_lexer": "ipython3",
                    "nbconvert_exporter": "python",
                    "file_extension": ".py"
                },
                "banner": "Python 3.11.7\n",
                "debugger": true,
                "help_links": [{"text": "Python", "url": "https://docs.python.org/3.11"}],
                "supported_features": ["kernel subshells", "debugger"]
            }"#,
        );
        assert_eq!(reply.protocol_version, "5.5");
        assert_eq!(reply.implementation, "ipython");
        assert_eq!(reply.implementation_version, "9.18.1");
        assert_eq!(reply.banner, "Python 3.11.7\n");
        assert_eq!(reply.debugger, Some(true));
        assert_eq!(reply.help_links.len(), 1);
        assert_eq!(reply.help_links[0].text, "Python");
        assert_eq!(reply.help_links[0].url, "https://docs.python.org/3.11");
        assert_eq!(reply.supported_features, ["kernel subshells", "debugger"]);
        let language = reply.language_info;
        assert_eq!(language.name, "python");
        assert_eq!(language.version, "3.11.7");
        assert_eq!(language.mimetype, "text/x-python");
        assert_eq!(language.file_extension, ".py");
        assert_eq!(language.pygments_lexer.as_deref(), Some("ipython3"));
        assert_eq!(language.codemirror_mode, Some(json!({"name": "ipython", "version": 3})));
        assert_eq!(language.nbconvert_exporter.as_deref(), Some("python"));
    }

    #[test]
    fn optional_fields_may_be_absent() {
        let reply: KernelInfoReply = read(
            r#"{
                "status": "ok",
                "protocol_version": "5.0",
                "implementation": "x",
                "implementation_version": "1",
                "language_info": {
                    "name": "x", "version": "1", "mimetype": "text/plain", "file_extension": ".x"
                },
                "banner": ""
            }"#,
        );
        assert_eq!(reply.debugger, None);
        assert!(reply.help_links.is_empty());
        assert!(reply.supported_features.is_empty());
        assert_eq!(reply.language_info.pygments_lexer, None);
        assert_eq!(reply.language_info.codemirror_mode, None);
        assert_eq!(reply.language_info.nbconvert_exporter, None);
    }
}
