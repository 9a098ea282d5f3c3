// SPDX-License-Identifier: Apache-2.0
// libsonde from Rust, without a crate: the few declarations that are needed, by hand.
//     rustc hello.rs -L DIR_OF_LIBSONDE -l dylib=sonde
// A span with attributes and a child, whose context is injected into headers; prints the headers.
use std::os::raw::{c_char, c_int, c_void};

#[repr(C)]
#[derive(Clone, Copy)]
struct Key {
    text: *const c_char,
    length: u32,
    bits: [u8; 2],
    padded: u8,
    reserved: u8,
}

#[repr(C)]
struct Span {
    context: [u8; 32],
    slot: u32,
    generation: u32,
    token: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Text {
    data: *const c_char,
    size: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    name: Text,
    value: Text,
}

#[repr(C)]
struct Headers {
    headers: *mut Header,
    count: usize,
    capacity: usize,
    text: *mut c_char,
    text_size: usize,
    text_used: usize,
}

#[repr(C)]
struct Carrier {
    ops: *const c_void,
    own: *mut c_void,
}

extern "C" {
    fn sonde_ffi_key(text: *const c_char, length: usize) -> Key;
    fn sonde_span_start(span: *mut Span, name: Key, options: *const c_void);
    fn sonde_span_end(span: *mut Span);
    fn sonde_span_set_string(span: *mut Span, key: Key, value: *const c_char, size: usize);
    fn sonde_span_set_int64(span: *mut Span, key: Key, value: i64);
    fn sonde_span_set_double(span: *mut Span, key: Key, value: f64);
    fn sonde_span_set_bool(span: *mut Span, key: Key, value: bool);
    fn sonde_http_carrier(headers: *mut Headers) -> Carrier;
    fn sonde_inject(context: *const c_void, carrier: *const Carrier) -> c_int;
    fn sonde_shutdown(timeout_ms: u32) -> c_int;
}

fn key(text: &'static str) -> Key {
    unsafe { sonde_ffi_key(text.as_ptr().cast(), text.len()) }
}

impl Span {
    fn start(name: &'static str) -> Span {
        let mut span = Span { context: [0; 32], slot: 0, generation: 0, token: [0; 2] };
        unsafe { sonde_span_start(&mut span, key(name), std::ptr::null()) };
        span
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        unsafe { sonde_span_end(self) };
    }
}

fn text(part: Text) -> String {
    let bytes = unsafe { std::slice::from_raw_parts(part.data.cast::<u8>(), part.size) };
    String::from_utf8_lossy(bytes).into_owned()
}

fn main() {
    {
        let mut outer = Span::start("hello");
        let value = "Grüße";
        unsafe {
            sonde_span_set_string(&mut outer, key("greeting"), value.as_ptr().cast(), value.len());
            sonde_span_set_int64(&mut outer, key("count"), -7);
            sonde_span_set_double(&mut outer, key("ratio"), 0.5);
            sonde_span_set_bool(&mut outer, key("polite"), true);
        }
        let _inner = Span::start("send");

        let mut room = vec![0 as c_char; 16384];
        let none = Text { data: std::ptr::null(), size: 0 };
        let mut items = [Header { name: none, value: none }; 4];
        let mut headers = Headers {
            headers: items.as_mut_ptr(),
            count: 0,
            capacity: items.len(),
            text: room.as_mut_ptr(),
            text_size: room.len(),
            text_used: 0,
        };
        unsafe {
            let carrier = sonde_http_carrier(&mut headers);
            sonde_inject(std::ptr::null(), &carrier); // null: the current context
        }
        for header in &items[..headers.count] {
            println!("{}: {}", text(header.name), text(header.value));
        }
    } // both spans end here, the inner one first
    unsafe { sonde_shutdown(5000) };
}
