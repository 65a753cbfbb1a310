//! Encryption of the sockets: CURVE (<https://rfc.zeromq.org/spec/26/>).
//!
//! `jupyter_client` makes one key pair for each kernel and writes it into the connection file. The kernel is the server;
//! a client has to know the public key, and all clients may use the kernel's own pair as theirs. There is no list of
//! clients: a process that can read the connection file may connect, as with the key that signs messages.

use std::ffi::{CString, c_char, c_int};
use std::fmt;

/// A key in Z85 has this many characters.
const Z85_LENGTH: usize = 40;

unsafe extern "C" {
    /// Of libzmq; `zmq-sys` has it, but does not hand it on.
    fn zmq_curve_public(public: *mut c_char, secret: *const c_char) -> c_int;
}

/// The key pair of a kernel.
#[derive(Clone, PartialEq, Eq)]
pub struct CurveKeys {
    /// The public key, 32 bytes: what a client has to know.
    pub public: Vec<u8>,
    /// The secret key, 32 bytes.
    pub secret: Vec<u8>,
}

/// Hides the keys: they must not get into logs.
impl fmt::Debug for CurveKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurveKeys")
    }
}

/// Whether the libzmq of this build can encrypt.
pub fn available() -> bool {
    zmq::has("curve") == Some(true)
}

impl CurveKeys {
    /// Reads the fields `curve_publickey` and `curve_secretkey` of a connection file (Z85); neither of them means no
    /// encryption. The error says what is wrong with them.
    pub fn read(public: Option<&str>, secret: Option<&str>) -> Result<Option<Self>, String> {
        let (public, secret) = match (public, secret) {
            (None, None) => return Ok(None),
            (Some(public), Some(secret)) => (public, secret),
            (Some(_), None) => return Err("it has curve_publickey, but no curve_secretkey".to_owned()),
            (None, Some(_)) => return Err("it has curve_secretkey, but no curve_publickey".to_owned()),
        };
        if !available() {
            return Err(
                "it asks for encryption (curve_publickey), and this callboard was built without: build it with the cargo \
                 feature `curve`, or start the kernel with transport_encryption \"disabled\" and, so that \"auto\" knows, \
                 write the kernelspec anew with `callboard install`"
                    .to_owned(),
            );
        }
        let keys = Self {
            public: decode(public).ok_or_else(|| not_a_key("curve_publickey"))?,
            secret: decode(secret).ok_or_else(|| not_a_key("curve_secretkey"))?,
        };
        // Else no client could connect, and none would be told why.
        if public_of(secret).as_deref() != Some(public) {
            return Err("curve_publickey is not the public key of curve_secretkey".to_owned());
        }
        Ok(Some(keys))
    }
}

fn not_a_key(field: &str) -> String {
    format!("{field} is not a key: {Z85_LENGTH} characters of Z85, as zmq.curve_keypair() makes them")
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = CString::new(text).ok().filter(|text| text.as_bytes().len() == Z85_LENGTH)?;
    let mut key = vec![0_u8; Z85_LENGTH / 5 * 4];
    // SAFETY: the string has the 40 characters and the zero that the function reads, the key the 32 bytes it writes.
    let decoded = unsafe { zmq_sys::zmq_z85_decode(key.as_mut_ptr(), text.as_ptr()) };
    (!decoded.is_null()).then_some(key)
}

/// The public key (Z85) that belongs to a secret one.
fn public_of(secret: &str) -> Option<String> {
    let secret = CString::new(secret).ok()?;
    let mut public = [0_u8; Z85_LENGTH + 1];
    // SAFETY: both strings have the 40 characters and the zero that the function reads and writes.
    let status = unsafe { zmq_curve_public(public.as_mut_ptr().cast::<c_char>(), secret.as_ptr()) };
    let public = (status == 0).then_some(&public[..Z85_LENGTH])?;
    String::from_utf8(public.to_vec()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(feature = "curve")]
    fn pair() -> (String, String) {
        let pair = zmq::CurveKeyPair::new().unwrap();
        (zmq::z85_encode(&pair.public_key).unwrap(), zmq::z85_encode(&pair.secret_key).unwrap())
    }

    #[test]
    fn no_keys_are_no_encryption() {
        assert_eq!(CurveKeys::read(None, None), Ok(None));
    }

    #[test]
    fn one_key_alone_is_an_error() {
        assert!(CurveKeys::read(Some("x"), None).unwrap_err().contains("no curve_secretkey"));
        assert!(CurveKeys::read(None, Some("x")).unwrap_err().contains("no curve_publickey"));
    }

    #[test]
    #[cfg(feature = "curve")]
    fn a_pair_is_read() {
        let (public, secret) = pair();
        let keys = CurveKeys::read(Some(&public), Some(&secret)).unwrap().unwrap();
        assert_eq!(zmq::z85_encode(&keys.public).unwrap(), public);
        assert_eq!(zmq::z85_encode(&keys.secret).unwrap(), secret);
        assert!(!format!("{keys:?}").contains(&secret));
    }

    #[test]
    #[cfg(feature = "curve")]
    fn what_is_no_pair_is_refused() {
        let (public, secret) = pair();
        let other = pair().0;
        for bad in ["", "short", &secret[1..], &format!("{secret}0"), &"\\".repeat(40), &"ü".repeat(20)] {
            let told = CurveKeys::read(Some(&public), Some(bad)).unwrap_err();
            assert!(told.contains("curve_secretkey"), "{bad}: {told}");
            let told = CurveKeys::read(Some(bad), Some(&secret)).unwrap_err();
            assert!(told.contains("curve_publickey"), "{bad}: {told}");
        }
        let told = CurveKeys::read(Some(&other), Some(&secret)).unwrap_err();
        assert!(told.contains("not the public key"), "{told}");
    }

    #[test]
    #[cfg(not(feature = "curve"))]
    fn a_build_without_libsodium_says_so() {
        let key = "0".repeat(40);
        let told = CurveKeys::read(Some(&key), Some(&key)).unwrap_err();
        assert!(told.contains("built without"), "{told}");
        assert!(told.contains("feature `curve`"), "{told}");
    }
}
