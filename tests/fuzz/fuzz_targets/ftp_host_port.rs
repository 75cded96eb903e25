//! Arguments and replies that name an address: PORT, EPRT, EPSV, 227, 229.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use lockgate::wire::ftp::host_port::{
    format_eprt, format_port, parse_eprt, parse_epsv, parse_epsv_reply, parse_pasv_reply,
    parse_port,
};

fuzz_target!(|text: &[u8]| {
    if let Ok(address) = parse_port(text) {
        assert_eq!(parse_port(format_port(address).as_bytes()), Ok(address));
    }
    if let Ok(address) = parse_eprt(text) {
        let again = parse_eprt(format_eprt(address).as_bytes());
        assert_eq!(again.map(|a: SocketAddr| a.port()), Ok(address.port()));
    }
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let _ = (parse_epsv(text), parse_epsv_reply(&lines), parse_pasv_reply(&lines));
});
