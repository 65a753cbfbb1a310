//! Registration files: where a launcher waits for the ports that the kernel has bound (JEP 66).

use serde::{Deserialize, Serialize};

use crate::startup::connection::{Connection, hmac_sha256, tcp};

/// The content of a registration file ("Registration file format" in the specification of kernels).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `tcp` or `ipc`, of the registration socket and of the kernel's.
    #[serde(default = "tcp")]
    pub transport: String,
    /// The address that the launcher listens on; for ipc the prefix of the socket file.
    #[serde(default)]
    pub registration_ip: Option<String>,
    /// The port of the launcher, or the suffix of the socket file.
    pub registration_port: u16,
    /// The address that the kernel is to listen on; the launcher listens there too if `registration_ip` is missing.
    #[serde(default)]
    pub ip: Option<String>,
    /// The launcher's id for this kernel.
    #[serde(default)]
    pub kernel_id: Option<String>,
    /// The key that signs every message, those of the handshake too; empty for no signatures.
    pub key: String,
    /// `hmac-sha256`, the only scheme that is known.
    #[serde(default = "hmac_sha256")]
    pub signature_scheme: String,
    /// The kernelspec's name, for clients.
    #[serde(default)]
    pub kernel_name: Option<String>,
    /// See [`Connection`]. The handshake itself is signed, not encrypted.
    #[serde(default)]
    pub curve_publickey: Option<String>,
    /// See [`Connection`].
    #[serde(default)]
    pub curve_secretkey: Option<String>,
}

/// The form of the handshake that a launcher speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A signed content over DEALER.
    Content,
    /// `handshake_request` over REQ.
    Message,
}

impl Registration {
    /// Checks that the kernel can register and listen as the file says. The error says which field is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.registration_port == 0 {
            return Err("registration_port is 0, so the kernel cannot know where to connect".into());
        }
        self.connection().check()
    }

    /// Where the kernel is to listen, with all ports 0.
    pub fn connection(&self) -> Connection {
        let default = Connection::default();
        Connection {
            transport: self.transport.clone(),
            ip: self.ip.clone().or_else(|| self.registration_ip.clone()).unwrap_or(default.ip),
            key: self.key.clone(),
            signature_scheme: self.signature_scheme.clone(),
            kernel_name: self.kernel_name.clone(),
            curve_publickey: self.curve_publickey.clone(),
            curve_secretkey: self.curve_secretkey.clone(),
            ..default
        }
    }

    /// The address of the registration socket.
    pub fn address(&self) -> String {
        let here = self.connection();
        let ip = self.registration_ip.clone().unwrap_or_else(|| here.ip.clone());
        Connection { ip, ..here }.address(self.registration_port)
    }

    /// The form that its launcher speaks: the specification's has `registration_ip` and `kernel_id` in the file, Positron's
    /// only `ip`.
    pub(crate) fn form(&self) -> Form {
        if self.registration_ip.is_some() || self.kernel_id.is_some() { Form::Content } else { Form::Message }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(text: &str) -> Registration {
        let registration: Registration = serde_json::from_str(text).unwrap();
        registration.check().unwrap();
        registration
    }

    #[test]
    fn where_it_listens_follows_from_the_file() {
        let both =
            file(r#"{"registration_ip": "192.0.2.1", "ip": "127.0.0.1", "registration_port": 5, "key": ""}"#);
        assert_eq!((both.address(), both.connection().ip), ("tcp://192.0.2.1:5".into(), "127.0.0.1".into()));
        let old = file(r#"{"ip": "::1", "registration_port": 5, "key": ""}"#);
        assert_eq!((old.address(), old.connection().ip), ("tcp://[::1]:5".into(), "::1".into()));
        assert_eq!(old.form(), Form::Message);
        let ipc =
            file(r#"{"transport": "ipc", "registration_ip": "/run/k", "registration_port": 5, "key": ""}"#);
        assert_eq!((ipc.address(), ipc.connection().ip), ("ipc:///run/k-5".into(), "/run/k".into()));
        assert_eq!(ipc.form(), Form::Content);
    }

    #[test]
    fn a_bad_file_says_what_is_wrong() {
        for (change, told) in [
            (json!({"registration_port": 0}), "registration_port is 0"),
            (json!({"transport": "pigeon"}), "pigeon"),
            (json!({"signature_scheme": "hmac-md5"}), "hmac-md5"),
            (json!({"curve_publickey": "k"}), "curve_secretkey"),
            (json!({"transport": "ipc", "ip": ""}), "path"),
        ] {
            let mut text = json!({"registration_port": 5, "key": "k"});
            text.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let registration: Registration = serde_json::from_value(text).unwrap();
            let error = registration.check().unwrap_err();
            assert!(error.contains(told), "{change}: {error}");
        }
    }
}
