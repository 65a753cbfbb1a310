//! Signs and verifies the four dicts of a message with HMAC-SHA256, and refuses replays.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A signature as bytes (on the wire it is hexadecimal).
pub type Digest = [u8; 32];

/// Signs and verifies messages with the key of the connection file.
///
/// An empty key switches signing off, as the protocol says.
#[derive(Clone)]
pub struct Signer {
    keyed: Option<Hmac<Sha256>>,
}

impl Signer {
    /// A signer for the connection file's `key`.
    pub fn new(key: &[u8]) -> Self {
        let keyed = if key.is_empty() {
            None
        } else {
            // HMAC takes keys of any length, so this is never `None` here.
            Hmac::<Sha256>::new_from_slice(key).ok()
        };
        Self { keyed }
    }

    /// The hexadecimal signature over header, parent header, metadata and content; empty without key.
    pub fn sign(&self, dicts: [&[u8]; 4]) -> String {
        let Some(keyed) = &self.keyed else {
            return String::new();
        };
        let mut mac = keyed.clone();
        for dict in dicts {
            mac.update(dict);
        }
        to_hex(&mac.finalize().into_bytes())
    }

    /// Checks a signature in constant time. Returns it as bytes, for the [`ReplayGuard`]; `None` if there is no key and
    /// nothing was checked.
    pub fn verify(&self, signature: &[u8], dicts: [&[u8]; 4]) -> Result<Option<Digest>, BadSignature> {
        let Some(keyed) = &self.keyed else {
            return Ok(None);
        };
        let digest = from_hex(signature).ok_or(BadSignature)?;
        let mut mac = keyed.clone();
        for dict in dicts {
            mac.update(dict);
        }
        mac.verify_slice(&digest).map_err(|_| BadSignature)?;
        Ok(Some(digest))
    }
}

/// The signature is not that of the frames: another key, or changed frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

/// Remembers the newest signatures and refuses those that it has seen.
///
/// All channels of a kernel share one: a message that was overheard on one of them is not taken on another. Eight bytes
/// of each signature are enough: two that begin alike cannot be searched for without the key, and come by chance once in
/// billions of messages.
pub struct ReplayGuard {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    beginnings: HashSet<u64>,
    order: VecDeque<u64>,
}

impl ReplayGuard {
    /// How many signatures are remembered, the oldest forgotten first (as `jupyter_client` does).
    pub const CAPACITY: usize = 1 << 16;

    /// A guard that remembers nothing yet.
    pub fn new() -> Self {
        Self { seen: Mutex::default() }
    }

    /// Whether this signature is new; remembers it. Holds a lock, but never while a signature is computed.
    pub fn admit(&self, digest: Digest) -> bool {
        let beginning = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.beginnings.insert(beginning) {
            return false;
        }
        seen.order.push_back(beginning);
        if seen.order.len() > Self::CAPACITY
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.beginnings.remove(&oldest);
        }
        true
    }
}

impl Default for ReplayGuard {
    fn default() -> Self {
        Self::new()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    text
}

fn from_hex(text: &[u8]) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DICTS: [&[u8]; 4] = [b"{\"msg_id\":\"1\"}", b"{}", b"{}", b"{\"code\":\"1\"}"];

    #[test]
    fn signs_as_python_does() {
        // hmac.new(b"key", b"".join(DICTS), hashlib.sha256).hexdigest()
        assert_eq!(
            Signer::new(b"key").sign(DICTS),
            "9681d006d2159c6df66cc9c1d736b90c9d9ab4a7804a0ec24c415359fb05e2f7"
        );
    }

    #[test]
    fn verifies_its_own_signature_and_no_other() {
        let signer = Signer::new(b"key");
        let signature = signer.sign(DICTS);
        assert!(signer.verify(signature.as_bytes(), DICTS).unwrap().is_some());
        assert!(signer.verify(signature.to_uppercase().as_bytes(), DICTS).is_ok());
        assert_eq!(Signer::new(b"other").verify(signature.as_bytes(), DICTS), Err(BadSignature));
        for wrong in [&b""[..], b"00", b"zz", &[b'g'; 64], &[0xff; 64], &signature.as_bytes()[1..]] {
            assert_eq!(signer.verify(wrong, DICTS), Err(BadSignature));
        }
        let changed = [DICTS[0], DICTS[1], DICTS[2], b"{\"code\":\"2\"}"];
        assert_eq!(signer.verify(signature.as_bytes(), changed), Err(BadSignature));
    }

    #[test]
    fn an_empty_key_switches_signing_off() {
        let signer = Signer::new(b"");
        assert_eq!(signer.sign(DICTS), "");
        assert_eq!(signer.verify(b"anything", DICTS), Ok(None));
    }

    #[test]
    fn a_replay_is_refused_until_it_is_forgotten() {
        let guard = ReplayGuard::new();
        let digest = |n: usize| {
            let mut digest = Digest::default();
            digest[..8].copy_from_slice(&n.to_le_bytes());
            digest
        };
        assert!(guard.admit(digest(0)));
        assert!(!guard.admit(digest(0)));
        for n in 1..=ReplayGuard::CAPACITY {
            assert!(guard.admit(digest(n)));
        }
        assert!(guard.admit(digest(0)), "the oldest one is forgotten");
        assert_eq!(guard.seen.lock().unwrap().beginnings.len(), ReplayGuard::CAPACITY);
    }
}
