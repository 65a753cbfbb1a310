//! Connection files: the addresses of the sockets, and the keys that sign and encrypt messages.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::os::paths::jupyter_runtime_dir;
use crate::transport::curve::CurveKeys;

/// The content of a connection file ("Connection files" in the Jupyter messaging specification).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `tcp` or `ipc`.
    #[serde(default = "tcp")]
    pub transport: String,
    /// The address to bind for tcp; the prefix of the socket files for ipc.
    #[serde(default = "localhost")]
    pub ip: String,
    /// The TCP port of the channel, or the suffix of its socket file. 0 lets the system choose.
    pub shell_port: u16,
    /// See `shell_port`.
    pub iopub_port: u16,
    /// See `shell_port`.
    pub stdin_port: u16,
    /// See `shell_port`.
    pub control_port: u16,
    /// See `shell_port`.
    pub hb_port: u16,
    /// The key that signs every message; empty for no signatures.
    pub key: String,
    /// `hmac-sha256`, the only scheme that is known.
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

/// A connection file that cannot be read or written.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// It does not exist, or its permissions forbid to read it.
    #[error(
        "cannot read the connection file {path}: {reason}. Jupyter writes one and names it with -f; without -f \
         callboard writes its own"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Its content is not that of a connection file.
    #[error(
        "the connection file {path} is malformed: {reason}. Let Jupyter, or callboard without -f, write a new one"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The fault of its content.
        reason: String,
    },
    /// A new one cannot be written.
    #[error(
        "cannot write a connection file in {path}: {reason}. Set JUPYTER_RUNTIME_DIR to a folder of yours"
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

impl Default for Connection {
    /// All ports 0, and a new key.
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

impl Connection {
    /// Checks everything but the ports. The error says which field is wrong.
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

    /// Writes a new connection file, readable by its owner only, at `path` or in Jupyter's runtime folder. Returns its
    /// path.
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
        // Removed first: an existing file would keep its mode, and stay open in other processes.
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
mod tests {
    use super::*;

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
