//! Connection files: where the sockets are, with which key messages are signed, and with which they are encrypted.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::os::paths::jupyter_runtime_dir;
use crate::startup::handshake::Registration;
use crate::transport::curve::CurveKeys;

/// What a file that is given with `-f` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Where to listen.
    Connection(Connection),
    /// Whom to tell where the kernel listens.
    Registration(Registration),
}

/// The content of a connection file ("Connection files" in the Jupyter messaging specification).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `tcp` or `ipc`.
    #[serde(default = "tcp")]
    pub transport: String,
    /// The address to bind for tcp; the prefix of the socket files for ipc.
    #[serde(default = "localhost")]
    pub ip: String,
    /// TCP port, or the suffix of the socket file, of each channel. 0 lets the system choose.
    pub shell_port: u16,
    /// See `shell_port`.
    pub iopub_port: u16,
    /// See `shell_port`.
    pub stdin_port: u16,
    /// See `shell_port`.
    pub control_port: u16,
    /// See `shell_port`.
    pub hb_port: u16,
    /// Signs every message; empty for none.
    pub key: String,
    /// The only one there is: `hmac-sha256`.
    #[serde(default = "hmac_sha256")]
    pub signature_scheme: String,
    /// The kernelspec's name, for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_name: Option<String>,
    /// The public key for CURVE, Z85; none for no encryption. See [`CurveKeys`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve_publickey: Option<String>,
    /// The secret key for CURVE, Z85.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve_secretkey: Option<String>,
}

pub(crate) fn tcp() -> String {
    "tcp".into()
}

fn localhost() -> String {
    "127.0.0.1".into()
}

pub(crate) fn hmac_sha256() -> String {
    "hmac-sha256".into()
}

/// A connection file that cannot be used.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// It is not there, or not ours to read.
    #[error(
        "cannot read the connection file {path}: {reason}. Jupyter writes one and names it with -f; without -f \
         callboard writes its own"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// It is not what a connection file should be.
    #[error(
        "the connection file {path} is malformed: {reason}. Let Jupyter, or callboard without -f, write a new one"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A new one cannot be written.
    #[error(
        "cannot write a connection file in {path}: {reason}. Set JUPYTER_RUNTIME_DIR to a folder of yours"
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

impl Default for Connection {
    /// All ports left to the system, and a fresh key.
    fn default() -> Self {
        Self {
            transport: tcp(),
            ip: localhost(),
            shell_port: 0,
            iopub_port: 0,
            stdin_port: 0,
            control_port: 0,
            hb_port: 0,
            key: uuid::Uuid::new_v4().to_string(),
            signature_scheme: hmac_sha256(),
            kernel_name: None,
            curve_publickey: None,
            curve_secretkey: None,
        }
    }
}

/// Reads and checks a connection file, or a registration file in its place.
pub fn read(path: &Path) -> Result<Given, ConnectionError> {
    let text =
        fs::read(path).map_err(|reason| ConnectionError::Unreadable { path: path.to_owned(), reason })?;
    parse(&text).map_err(|reason| ConnectionError::Malformed { path: path.to_owned(), reason })
}

fn parse(text: &[u8]) -> Result<Given, String> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".into());
    }
    let fields: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let has = |field| fields.get(field).is_some();
    let channels = ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"];
    if has("registration_port") && !channels.into_iter().any(has) {
        let registration: Registration = serde_json::from_value(fields).map_err(|error| error.to_string())?;
        registration.check()?;
        return Ok(Given::Registration(registration));
    }
    // From the text: its errors say where.
    let connection: Connection = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Connection { shell_port, iopub_port, stdin_port, control_port, hb_port, .. } = connection;
    if [shell_port, iopub_port, stdin_port, control_port, hb_port].contains(&0) {
        return Err("a port is 0, so no client could know where to connect".into());
    }
    connection.check()?;
    Ok(Given::Connection(connection))
}

impl Connection {
    /// Checks what can be wrong whoever chooses the ports.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.transport.as_str() {
            "ipc" if self.ip.is_empty() || self.ip.starts_with('*') || self.ip.contains('\0') => {
                return Err(format!(
                    "ip is {:?}, for ipc it must be a path: that of the sockets without their numbers",
                    self.ip
                ));
            }
            "tcp" | "ipc" => {}
            other => return Err(format!("transport is {other:?}, it must be \"tcp\" or \"ipc\"")),
        }
        if self.signature_scheme != "hmac-sha256" && !self.key.is_empty() {
            let scheme = &self.signature_scheme;
            return Err(format!("signature_scheme is {scheme:?}, only \"hmac-sha256\" is known"));
        }
        self.curve().map(drop)
    }

    /// The keys that encrypt; `None` for no encryption.
    pub fn curve(&self) -> Result<Option<CurveKeys>, String> {
        CurveKeys::read(self.curve_publickey.as_deref(), self.curve_secretkey.as_deref())
    }

    /// The path of the socket file for one of the ports; `None` if there is no file.
    pub fn socket_file(&self, port: u16) -> Option<PathBuf> {
        // A leading @ names a socket that has no file (Linux).
        let is_file = self.transport == "ipc" && !self.ip.starts_with('@');
        is_file.then(|| PathBuf::from(format!("{}-{port}", self.ip)))
    }

    /// The address for one of the ports.
    pub fn address(&self, port: u16) -> String {
        match (self.transport.as_str(), port) {
            ("ipc", _) => format!("ipc://{}-{port}", self.ip),
            (_, 0) => format!("tcp://{}:*", self.host()),
            _ => format!("tcp://{}:{port}", self.host()),
        }
    }

    fn host(&self) -> String {
        if self.ip.contains(':') && !self.ip.starts_with('[') {
            return format!("[{}]", self.ip);
        }
        self.ip.clone()
    }

    /// Writes a new connection file, readable by its owner only, at `path` or in Jupyter's runtime
    /// folder. Returns where.
    pub fn write(&self, path: Option<&Path>) -> Result<PathBuf, ConnectionError> {
        let path = path.map_or_else(
            || {
                let folder = jupyter_runtime_dir().unwrap_or_else(std::env::temp_dir);
                folder.join(format!("kernel-{}.json", std::process::id()))
            },
            Path::to_owned,
        );
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        let unwritable = |reason| ConnectionError::Unwritable { path: folder.clone(), reason };
        if !folder.as_os_str().is_empty() {
            fs::create_dir_all(&folder).map_err(unwritable)?;
        }
        let text = serde_json::to_vec_pretty(self).map_err(|error| unwritable(error.into()))?;
        // Made anew: an existing file would keep its mode, and whoever else has it open.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(unwritable(error));
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        file.write_all(&text).map_err(unwritable)?;
        Ok(path)
    }
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
        assert_eq!(read(&path).unwrap(), Given::Connection(connection));
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
        assert!(matches!(parse(text.as_bytes()), Ok(Given::Registration(_))));
        let mut both = serde_json::to_value(some()).unwrap();
        both["registration_port"] = 5.into();
        assert!(matches!(parse(both.to_string().as_bytes()), Ok(Given::Connection(_))));
        let error = parse(br#"{"registration_port": 5, "key": "k", "shell_port": 6}"#).unwrap_err();
        assert!(error.contains("iopub_port"), "{error}");
    }

    #[test]
    fn addresses() {
        let mut connection = Connection::default();
        assert_eq!(connection.address(0), "tcp://127.0.0.1:*");
        assert_eq!(connection.address(5), "tcp://127.0.0.1:5");
        connection.ip = "::1".into();
        assert_eq!(connection.address(5), "tcp://[::1]:5");
        (connection.transport, connection.ip) = ("ipc".into(), "/run/kernel".into());
        assert_eq!(connection.address(5), "ipc:///run/kernel-5");
        assert_eq!(connection.socket_file(5), Some("/run/kernel-5".into()));
        connection.ip = "@kernel".into();
        assert_eq!(connection.socket_file(5), None);
    }
}
