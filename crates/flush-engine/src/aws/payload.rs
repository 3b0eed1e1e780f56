//! The types of data that can be recorded.

use bytes::{Bytes, BytesMut};

/// The payload of a record. Owned data is taken as is; borrowed data is copied.
///
/// Implemented for [`Bytes`], [`BytesMut`], `String`, `Vec<u8>`, `Box<[u8]>`, and references to what
/// is `AsRef<[u8]>`. For a type of your own, implement this or convert it to [`Bytes`] first.
///
/// ```
/// use flush_engine::aws::IntoPayload;
///
/// let line = String::from("a line");
/// assert_eq!((&line).into_payload(), (&line[..]).into_payload());
/// assert_eq!(line.into_payload(), "a line");
/// ```
pub trait IntoPayload {
    /// Returns the bytes.
    fn into_payload(self) -> Bytes;
}

macro_rules! owned {
    ($($owned:ty),+ $(,)?) => {$(
        impl IntoPayload for $owned {
            fn into_payload(self) -> Bytes {
                self.into()
            }
        }
    )+};
}
owned!(Bytes, BytesMut, String, Vec<u8>, Box<[u8]>);

impl<T: AsRef<[u8]> + ?Sized> IntoPayload for &T {
    fn into_payload(self) -> Bytes {
        Bytes::copy_from_slice(self.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owned_is_not_copied_and_what_is_borrowed_may_die() {
        let owned = vec![1_u8, 2, 3];
        let at = owned.as_ptr();
        assert_eq!(owned.into_payload().as_ptr(), at);
        let payload = {
            let (text, bytes) = (String::from("text"), vec![1_u8]);
            assert_eq!((&bytes).into_payload(), (&bytes[..]).into_payload());
            assert_eq!((&text).into_payload(), text.as_str().into_payload());
            (&text).into_payload()
        };
        assert_eq!(payload, "text");
    }
}
