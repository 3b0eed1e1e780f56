//! The store in the browser's database, in a browser. `cargo xtask ports browser` runs it.

#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conforms;

use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);
