//! Browsers that refuse to store anything, or anything more, for a page.

use std::cell::RefCell;
use std::rc::Rc;

use record_cache::{IndexedDbStore, StoreError};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::future_to_promise;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{append, append_together, numbers, raw};

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

#[wasm_bindgen_test]
async fn of_appends_that_do_not_fit_together_those_that_fit_are_stored() {
    let store = IndexedDbStore::open("tight").await.unwrap();
    append(&store, 0..1).await;
    // The first fails in the group, and again on its own.
    raw::fail_adds(2);
    let appended = append_together(&store, 1..4).await;
    raw::add_again();
    let stored: Vec<_> = appended.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [false, true, true]);
    assert_eq!(numbers(&store).await, [0, 2, 3]);
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
