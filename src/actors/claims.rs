//! The requests that handlers of Python code get instead of the actor that answers them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::delivery::job::Channel;
use crate::wire::MessageType;

/// The types of requests that Python has claimed, by channel: `kernel.shell_handlers` and `kernel.control_handlers` have
/// handlers of their own for them.
#[derive(Default)]
pub struct Claims {
    /// Whether there are any: a router asks for each message, and nearly always there are none.
    any: AtomicBool,
    claimed: RwLock<HashSet<(Channel, String)>>,
}

impl Claims {
    /// Sets what is claimed of a channel.
    pub fn set(&self, channel: Channel, kinds: Vec<String>) {
        let mut claimed = self.claimed.write().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|(of, _)| *of != channel);
        claimed.extend(kinds.into_iter().map(|kind| (channel, kind)));
        self.any.store(!claimed.is_empty(), Ordering::Release);
    }

    /// Whether Python handles messages of this type.
    pub fn has(&self, channel: Channel, kind: &MessageType) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let claimed = self.claimed.read().unwrap_or_else(PoisonError::into_inner);
        claimed.contains(&(channel, kind.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_for_its_channel_until_it_is_set_anew() {
        let claims = Claims::default();
        let kind = MessageType::KernelInfoRequest;
        assert!(!claims.has(Channel::Shell, &kind));
        claims.set(Channel::Shell, vec!["kernel_info_request".into(), "my_request".into()]);
        assert!(claims.has(Channel::Shell, &kind));
        assert!(claims.has(Channel::Shell, &MessageType::parse("my_request")));
        assert!(!claims.has(Channel::Control, &kind));
        claims.set(Channel::Control, vec!["kernel_info_request".into()]);
        claims.set(Channel::Shell, Vec::new());
        assert!(!claims.has(Channel::Shell, &kind));
        assert!(claims.has(Channel::Control, &kind));
    }
}
