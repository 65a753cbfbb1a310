//! The file that a launcher names with `-f`: a connection file, or a registration file in its place.

use std::fs;
use std::path::Path;

use crate::startup::connection::{Connection, ConnectionError};
use crate::startup::registration::Registration;

/// The content of a launch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchFile {
    /// Where to listen.
    Connection(Connection),
    /// Where to register the ports that the kernel binds.
    Registration(Registration),
}

/// Reads and checks a launch file.
pub fn read(path: &Path) -> Result<LaunchFile, ConnectionError> {
    let text =
        fs::read(path).map_err(|reason| ConnectionError::Unreadable { path: path.to_owned(), reason })?;
    parse(&text).map_err(|reason| ConnectionError::Malformed { path: path.to_owned(), reason })
}

fn parse(text: &[u8]) -> Result<LaunchFile, String> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".into());
    }
    let fields: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let has = |field| fields.get(field).is_some();
    let channels = ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"];
    if has("registration_port") && !channels.into_iter().any(has) {
        let registration: Registration = serde_json::from_value(fields).map_err(|error| error.to_string())?;
        registration.check()?;
        return Ok(LaunchFile::Registration(registration));
    }
    // From the text: these errors say at which line and column.
    let connection: Connection = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Connection { shell_port, iopub_port, stdin_port, control_port, hb_port, .. } = connection;
    if [shell_port, iopub_port, stdin_port, control_port, hb_port].contains(&0) {
        return Err("a port is 0, so no client could know where to connect".into());
    }
    connection.check()?;
    Ok(LaunchFile::Connection(connection))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn some() -> Connection {
        Connection {
            shell_port: 1,
            iopub_port: 2,
            stdin_port: 3,
            control_port: 4,
            hb_port: 5,
            ..Connection::default()
        }
    }

    #[test]
    fn what_is_written_reads_back_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let connection = some();
        let path = connection.write(Some(&folder.path().join("new/kernel.json"))).unwrap();
        assert_eq!(read(&path).unwrap(), LaunchFile::Connection(connection));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_bad_file_says_what_is_wrong() {
        for (text, told) in [("", "object"), ("[]", "object"), ("{", "EOF"), ("{}", "shell_port")] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        for (key, value, told) in [
            ("shell_port", serde_json::json!("x"), "u16"),
            ("shell_port", 70_000.into(), "70000"),
            ("hb_port", 0.into(), "port is 0"),
            ("transport", "carrier pigeon".into(), "carrier pigeon"),
            ("signature_scheme", "hmac-md5".into(), "hmac-md5"),
            ("curve_publickey", "k".into(), "no curve_secretkey"),
            ("curve_secretkey", "k".into(), "no curve_publickey"),
            ("curve_secretkey", 5.into(), "string"),
        ] {
            let mut bad = serde_json::to_value(some()).unwrap();
            bad[key] = value;
            let error = parse(bad.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
        for ip in ["", "*", "a\0b"] {
            let bad = Connection { transport: "ipc".into(), ip: ip.into(), ..some() };
            assert!(bad.check().unwrap_err().contains("path"), "{ip:?}");
        }
    }

    #[test]
    fn a_registration_port_counts_only_without_channels() {
        let text = r#"{"registration_port": 5, "key": "k"}"#;
        assert!(matches!(parse(text.as_bytes()), Ok(LaunchFile::Registration(_))));
        let mut both = serde_json::to_value(some()).unwrap();
        both["registration_port"] = 5.into();
        assert!(matches!(parse(both.to_string().as_bytes()), Ok(LaunchFile::Connection(_))));
        let error = parse(br#"{"registration_port": 5, "key": "k", "shell_port": 6}"#).unwrap_err();
        assert!(error.contains("iopub_port"), "{error}");
    }
}
