//! Browsers that refuse to store anything for a page.

use std::cell::RefCell;
use std::rc::Rc;

use record_cache::{IndexedDbStore, StoreError};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::future_to_promise;
use wasm_bindgen_test::wasm_bindgen_test;

use super::raw;

#[wasm_bindgen_test]
async fn a_browser_without_a_database_is_told_from_trouble() {
    let opened = open_without("indexedDB", &JsValue::UNDEFINED).await;
    assert!(
        matches!(opened, Err(StoreError::Refused { .. })),
        "{opened:?}"
    );
}

#[wasm_bindgen_test]
async fn a_browser_that_refuses_the_database_is_told_from_trouble() {
    let opened = open_without("indexedDB", &raw::throws()).await;
    assert!(
        matches!(opened, Err(StoreError::Refused { .. })),
        "{opened:?}"
    );
}

#[wasm_bindgen_test]
async fn a_browser_without_locks_is_told_from_trouble() {
    let opened = open_without("navigator", &js_sys::Object::new()).await;
    assert!(
        matches!(opened, Err(StoreError::Refused { .. })),
        "{opened:?}"
    );
    // The failed open leaves nothing behind: the next one succeeds.
    IndexedDbStore::open("refused").await.unwrap();
}

async fn open_without(property: &str, value: &JsValue) -> Result<IndexedDbStore, StoreError> {
    let opened = Rc::new(RefCell::new(None));
    let result = Rc::clone(&opened);
    let open: Closure<dyn FnMut() -> JsValue> = Closure::new(move || {
        let result = Rc::clone(&result);
        let opening = async move {
            let opened = IndexedDbStore::open("refused").await;
            result.replace(Some(opened));
            Ok(JsValue::UNDEFINED)
        };
        future_to_promise(opening).into()
    });
    raw::done(raw::without(property, value, open.as_ref().unchecked_ref())).await;
    opened.take().unwrap()
}
