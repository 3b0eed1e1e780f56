//! Numbers and runs of bytes, written and read one after the other.

/// Collects a body.
#[derive(Debug, Default, Clone)]
pub(in crate::sled_store) struct Writer(Vec<u8>);

impl Writer {
    pub(in crate::sled_store) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(in crate::sled_store) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(in crate::sled_store) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Seven bits a byte, the lowest first.
    pub(in crate::sled_store) fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
        self
    }

    pub(in crate::sled_store) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(in crate::sled_store) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::sled_store) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(in crate::sled_store) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// Reads a body, and says `None` where it ends too early.
#[derive(Debug, Clone)]
pub(in crate::sled_store) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::sled_store) const fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(in crate::sled_store) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(in crate::sled_store) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(in crate::sled_store) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(in crate::sled_store) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(in crate::sled_store) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(in crate::sled_store) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::sled_store) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
