//! File attributes (draft-ietf-secsh-filexfer-02 section 5).

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{Fields, count, put_pair};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 1 << 31;

/// A file's attributes; `None`: absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// User id and group id.
    pub owner: Option<(u32, u32)>,
    /// The mode of stat(2), with the file type.
    pub permissions: Option<u32>,
    /// Access and modification, in unsigned seconds since 1970.
    pub times: Option<(u32, u32)>,
    /// Name and value.
    pub extended: Vec<(Bytes, Bytes)>,
}

impl Attributes {
    pub(super) fn decode(fields: &mut Fields) -> Option<Self> {
        // Ignores unknown bits as OpenSSH does: their fields could not be skipped.
        let flags = fields.u32()?;
        let mut attributes = Self::default();
        if flags & SIZE != 0 {
            attributes.size = Some(fields.u64()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attributes.permissions = Some(fields.u32()?);
        }
        if flags & TIMES != 0 {
            attributes.times = Some((fields.u32()?, fields.u32()?));
        }
        if flags & EXTENDED != 0 {
            attributes.extended = fields.counted(8, Fields::pair)?;
        }
        Some(attributes)
    }

    /// Their encoded length in bytes.
    pub fn encoded_len(&self) -> usize {
        let present = |is_present: bool, length| if is_present { length } else { 0 };
        let pairs = self.extended.iter().map(|(name, value)| 8 + name.len() + value.len());
        4 + present(self.size.is_some(), 8)
            + present(self.owner.is_some(), 8)
            + present(self.permissions.is_some(), 4)
            + present(self.times.is_some(), 8)
            + present(!self.extended.is_empty(), 4)
            + pairs.sum::<usize>()
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let flag = |is_present: bool, flag: u32| if is_present { flag } else { 0 };
        out.put_u32(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), OWNER)
                | flag(self.permissions.is_some(), PERMISSIONS)
                | flag(self.times.is_some(), TIMES)
                | flag(!self.extended.is_empty(), EXTENDED),
        );
        if let Some(size) = self.size {
            out.put_u64(size);
        }
        if let Some((user, group)) = self.owner {
            out.put_u32(user);
            out.put_u32(group);
        }
        if let Some(permissions) = self.permissions {
            out.put_u32(permissions);
        }
        if let Some((accessed, modified)) = self.times {
            out.put_u32(accessed);
            out.put_u32(modified);
        }
        if !self.extended.is_empty() {
            out.put_u32(count(self.extended.len()));
            self.extended.iter().for_each(|pair| put_pair(pair, out));
        }
    }
}
