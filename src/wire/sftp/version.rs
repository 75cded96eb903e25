//! INIT and VERSION, the first packets (draft-ietf-secsh-filexfer-02 section 4).

use bytes::{Bytes, BytesMut};

use super::fields::{DecodeError, Fields, put_packet, put_pair};

/// The version of this codec.
pub const VERSION: u32 = 3;

/// The most extensions that a VERSION may announce; OpenSSH announces a dozen.
pub const MAX_EXTENSIONS: usize = 256;

pub(super) const INIT: u8 = 1;
const KIND: u8 = 2;
const BROKEN: DecodeError = DecodeError::Broken { id: None };

/// The server's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The SFTP version of the session; this codec has [`VERSION`].
    pub version: u32,
    /// Name and value; for OpenSSH's extensions the value is a version.
    pub extensions: Vec<(Bytes, Bytes)>,
}

impl Version {
    /// Whether an extension is announced with exactly this value; another value means another format.
    pub fn offers(&self, name: &[u8], value: &[u8]) -> bool {
        self.extensions.iter().any(|(n, v)| n == name && v == value)
    }

    /// The packet with its length.
    pub fn encode(&self, out: &mut BytesMut) {
        put_packet(KIND, self.version, 0, out, |out| {
            self.extensions.iter().for_each(|pair| put_pair(pair, out));
        });
    }

    /// `packet`: without its length. More than [`MAX_EXTENSIONS`] are an error.
    pub fn decode(packet: Bytes) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(packet);
        let version = numbered(&mut fields, KIND)?;
        let mut extensions = Vec::new();
        while !fields.is_empty() {
            if extensions.len() == MAX_EXTENSIONS {
                return Err(BROKEN);
            }
            extensions.push(fields.pair().ok_or(BROKEN)?);
        }
        Ok(Self { version, extensions })
    }
}

/// The client's first packet, with its length: [`VERSION`], no extensions.
pub fn encode_init(out: &mut BytesMut) {
    put_packet(INIT, VERSION, 0, out, |_| {});
}

/// The version that a client requests; ignores its extensions. Any packet but INIT is an unknown type.
pub fn decode_init(packet: Bytes) -> Result<u32, DecodeError> {
    numbered(&mut Fields::new(packet), INIT)
}

fn numbered(fields: &mut Fields, expected: u8) -> Result<u32, DecodeError> {
    let kind = fields.u8().ok_or(BROKEN)?;
    let number = fields.u32().ok_or(BROKEN)?;
    if kind != expected {
        return Err(DecodeError::UnknownType { kind, id: number });
    }
    Ok(number)
}
