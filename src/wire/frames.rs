//! Frames: the parts of a message as a socket sends and receives them.

use std::collections::{VecDeque, vec_deque};
use std::fmt;
use std::ops::Deref;

use super::{DELIMITER, EMPTY_OBJECT};

/// The bytes of one frame, without a copy: owned, part of the program, or lent by another type such as a message that a
/// socket has received.
pub struct Frame(Bytes);

enum Bytes {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Lent(Box<dyn Deref<Target = [u8]> + Send + Sync>),
}

impl Frame {
    /// `{}`, the content or metadata of a message that has none.
    pub const EMPTY_OBJECT: Self = Self::fixed(EMPTY_OBJECT);

    /// A frame of bytes that are part of the program.
    pub const fn fixed(bytes: &'static [u8]) -> Self {
        Self(Bytes::Static(bytes))
    }

    /// A frame of bytes that `owner` lends, for as long as the frame exists.
    pub fn lent(owner: impl Deref<Target = [u8]> + Send + Sync + 'static) -> Self {
        Self(Bytes::Lent(Box::new(owner)))
    }

    /// Its bytes. Copies those that it does not own.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bytes::Owned(bytes) => bytes,
            Bytes::Static(bytes) => bytes.to_vec(),
            Bytes::Lent(owner) => owner.to_vec(),
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Lent(owner) => owner,
        }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Owned(bytes))
    }
}

impl From<&[u8]> for Frame {
    /// Copies the bytes, except those that most messages have in common.
    fn from(bytes: &[u8]) -> Self {
        match bytes {
            EMPTY_OBJECT => Self::EMPTY_OBJECT,
            DELIMITER => Self::fixed(DELIMITER),
            other => other.to_vec().into(),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

/// The frames of one message, first to last.
#[derive(Debug, Default)]
pub struct Frames(VecDeque<Frame>);

impl Frames {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First to last.
    pub fn iter(&self) -> vec_deque::Iter<'_, Frame> {
        self.0.iter()
    }

    /// Takes the first one out.
    pub fn pop_front(&mut self) -> Option<Frame> {
        self.0.pop_front()
    }

    /// Puts one before the first.
    pub fn push_front(&mut self, frame: Frame) {
        self.0.push_front(frame);
    }
}

impl From<Vec<Frame>> for Frames {
    fn from(frames: Vec<Frame>) -> Self {
        Self(frames.into())
    }
}

impl From<Vec<Vec<u8>>> for Frames {
    fn from(frames: Vec<Vec<u8>>) -> Self {
        frames.into_iter().map(Frame::from).collect()
    }
}

impl FromIterator<Frame> for Frames {
    fn from_iter<I: IntoIterator<Item = Frame>>(frames: I) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl IntoIterator for Frames {
    type Item = Frame;
    type IntoIter = vec_deque::IntoIter<Frame>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = &'a Frame;
    type IntoIter = vec_deque::Iter<'a, Frame>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_moved_where_they_can_be() {
        let bytes = vec![1; 100];
        let at = bytes.as_ptr();
        let frame = Frame::from(bytes);
        assert_eq!(frame.as_ptr(), at);
        let bytes = frame.into_vec();
        assert_eq!(bytes.as_ptr(), at);
        let frame = Frame::lent(bytes);
        assert_eq!((frame.as_ptr(), frame.len()), (at, 100));
        assert_eq!(frame.into_vec(), [1; 100]);
    }

    #[test]
    fn a_frame_is_no_larger_than_a_vector() {
        assert_eq!(size_of::<Frame>(), size_of::<Vec<u8>>());
    }
}
