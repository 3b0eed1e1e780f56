//! Scripts in the page of a test, and a `fetch` that answers by one of them.

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

pub(crate) fn js(script: &str) -> JsValue {
    js_sys::eval(script).unwrap()
}

pub(crate) fn text(script: &str) -> String {
    js(script).as_string().unwrap()
}

pub(crate) async fn wait_for(script: &str) {
    for _ in 0..500 {
        if js(script).is_truthy() {
            return;
        }
        sleep(10).await;
    }
    panic!("never true: {script}");
}

/// Waits until a client has delivered all its records.
pub(crate) async fn until_empty(records: impl Fn() -> usize) {
    for _ in 0..500 {
        if records() == 0 {
            return;
        }
        sleep(10).await;
    }
    panic!("{} records are still waiting", records());
}

async fn sleep(millis: u32) {
    let sleep = js(&format!("new Promise(keep => setTimeout(keep, {millis}))"));
    let sleep: Promise = sleep.unchecked_into();
    JsFuture::from(sleep).await.unwrap();
}

/// Answers requests to this host with this function from now on, and keeps the requests as `calls`
/// and their bodies as `bodies`. Each test uses its own host, so no test sees the requests of
/// another.
pub(crate) fn answer_by(host: &str, function: &str) {
    js(&format!(
        "globalThis.realFetch ??= fetch;
         globalThis.calls = [];
         globalThis.bodies = [];
         globalThis.fetch = async (request, ...more) => {{
             if (!request.url?.includes('{host}.example')) return realFetch(request, ...more);
             calls.push(request);
             bodies.push(await request.clone().text());
             return ({function})(request);
         }}"
    ));
}
