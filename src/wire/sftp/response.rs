//! Responses (draft-ietf-secsh-filexfer-02 section 7).

use bytes::{BufMut, Bytes, BytesMut};

use super::attributes::Attributes;
use super::fields::{DecodeError, Fields, count, put_packet, put_string};
use super::status::StatusCode;

const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

/// An empty name, an empty longname, attributes without fields.
const NAME_SIZE_MIN: usize = 12;

/// A packet from the server, except VERSION.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The request's.
    pub id: u32,
    /// The response's type and fields.
    pub body: ResponseBody,
}

/// The content of a response; the request determines which types are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseBody {
    /// `message` is for people; its language tag is sent empty and not read.
    Status {
        /// The outcome.
        code: StatusCode,
        /// A text, usually UTF-8; it may be empty.
        message: Bytes,
    },
    /// The draft allows up to 256 bytes, which is not enforced.
    Handle(Bytes),
    /// DATA: the bytes of READ, at most as many as requested.
    Data(Bytes),
    /// NAME: entries of READDIR; exactly one for REALPATH and READLINK.
    Names(Vec<Name>),
    /// ATTRS: the attributes of STAT, LSTAT and FSTAT.
    Attributes(Attributes),
    /// See [`FileSystem`](super::FileSystem), [`Limits`](super::Limits),
    /// [`UsersGroups`](super::UsersGroups).
    Extended(Bytes),
}

/// A directory entry or a path in NAME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// A file name without its directory; for REALPATH and READLINK a path.
    pub name: Bytes,
    /// A line as `ls -l` writes it.
    pub longname: Bytes,
    /// The file's attributes; usually none for REALPATH and READLINK.
    pub attributes: Attributes,
}

use ResponseBody as R;

impl Response {
    /// `packet`: without its length.
    pub fn decode(packet: Bytes) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(packet);
        let kind = fields.u8().ok_or(DecodeError::Broken { id: None })?;
        let id = fields.u32().ok_or(DecodeError::Broken { id: None })?;
        if !matches!(kind, STATUS..=ATTRS | EXTENDED_REPLY) {
            return Err(DecodeError::UnknownType { kind, id });
        }
        let body = ResponseBody::decode(kind, fields);
        body.map(|body| Self { id, body }).ok_or(DecodeError::Broken { id: Some(id) })
    }

    /// The packet with its length.
    pub fn encode(&self, out: &mut BytesMut) {
        if let R::Data(data) = &self.body {
            encode_data_header(self.id, data.len(), out);
            return out.put_slice(data);
        }
        put_packet(self.body.kind(), self.id, 0, out, |out| self.body.encode(out));
    }
}

/// A DATA packet up to its data: the caller sends the `len` bytes.
pub fn encode_data_header(id: u32, len: usize, out: &mut BytesMut) {
    put_packet(DATA, id, len, out, |out| out.put_u32(count(len)));
}

impl ResponseBody {
    fn decode(kind: u8, mut fields: Fields) -> Option<Self> {
        Some(match kind {
            STATUS => R::Status {
                code: StatusCode(fields.u32()?),
                // Servers of version 2, and some others, send no message.
                message: if fields.is_empty() { Bytes::new() } else { fields.string()? },
            },
            HANDLE => R::Handle(fields.string()?),
            DATA => R::Data(fields.string()?),
            NAME => R::Names(fields.counted(NAME_SIZE_MIN, Name::decode)?),
            ATTRS => R::Attributes(Attributes::decode(&mut fields)?),
            EXTENDED_REPLY => R::Extended(fields.rest()),
            _ => return None,
        })
    }

    fn kind(&self) -> u8 {
        match self {
            R::Status { .. } => STATUS,
            R::Handle(_) => HANDLE,
            R::Data(_) => DATA,
            R::Names(_) => NAME,
            R::Attributes(_) => ATTRS,
            R::Extended(_) => EXTENDED_REPLY,
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            R::Status { code, message } => {
                out.put_u32(code.0);
                put_string(message, out);
                put_string(b"", out);
            }
            R::Handle(bytes) | R::Data(bytes) => put_string(bytes, out),
            R::Names(names) => {
                out.put_u32(count(names.len()));
                names.iter().for_each(|name| name.encode(out));
            }
            R::Attributes(attributes) => attributes.encode(out),
            R::Extended(data) => out.put_slice(data),
        }
    }
}

impl Name {
    /// Its encoded length in bytes.
    pub fn encoded_len(&self) -> usize {
        8 + self.name.len() + self.longname.len() + self.attributes.encoded_len()
    }

    fn decode(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.string()?,
            longname: fields.string()?,
            attributes: Attributes::decode(fields)?,
        })
    }

    fn encode(&self, out: &mut BytesMut) {
        put_string(&self.name, out);
        put_string(&self.longname, out);
        self.attributes.encode(out);
    }
}
