//! Writes a JSON object. Strings are escaped so that a record is one line that is safe to show.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::op::escape::{VALUE_MAX, json, truncated};

/// An object that is being written. Writing to a string cannot fail.
pub(super) struct Object<'a> {
    text: &'a mut String,
    empty: bool,
}

impl Object<'_> {
    /// Writes an object with the members that `fill` adds.
    pub(super) fn write(text: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
        text.push('{');
        fill(&mut Object { text, empty: true });
        text.push('}');
    }

    /// The name of a member, which consists of letters and underscores.
    fn key(&mut self, name: &str) {
        let comma = if std::mem::take(&mut self.empty) { "" } else { "," };
        let _ = write!(self.text, "{comma}\"{name}\":");
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        let _ = write!(self.text, "{}", json(&truncated(value.as_bytes())));
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A name, which is any bytes. If it is not UTF-8, its bytes follow in hexadecimal: the readable form
    /// could be that of another name.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) {
        self.key(name);
        let _ = write!(self.text, "{}", json(&truncated(value)));
        if value.len() <= VALUE_MAX && str::from_utf8(value).is_err() {
            self.hexadecimal(&format!("{name}_hex"), value);
        }
    }

    pub(super) fn hexadecimal(&mut self, name: &str, value: &[u8]) {
        self.key(name);
        self.text.push('"');
        for byte in value {
            let _ = write!(self.text, "{byte:02x}");
        }
        self.text.push('"');
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        let _ = write!(self.text, "{value}");
    }

    /// To the microsecond.
    pub(super) fn seconds(&mut self, name: &str, value: f64) {
        self.key(name);
        let _ = write!(self.text, "{:.6}", if value.is_finite() { value.max(0.0) } else { 0.0 });
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.key(name);
        let _ = write!(self.text, "{value}");
    }

    pub(super) fn list(&mut self, name: &str, values: &[String]) {
        self.key(name);
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(self.text, "{comma}{}", json(&truncated(value.as_bytes())));
        }
        self.text.push(']');
    }

    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(name);
        Object::write(self.text, fill);
    }

    /// An address and a port as two members of this object.
    pub(super) fn socket(&mut self, address: SocketAddr) {
        self.text("address", &address.ip().to_string());
        self.number("port", address.port().into());
    }
}
