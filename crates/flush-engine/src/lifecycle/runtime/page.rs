//! Whether the page is visible.

use js_sys::global;
use tokio::sync::mpsc;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Event, EventTarget, VisibilityState, Window};

/// Whether the page is in the background or about to unload. Always false in a worker.
pub(crate) fn is_page_hidden() -> bool {
    let document = global()
        .dyn_into::<Window>()
        .ok()
        .and_then(|w| w.document());
    document.is_some_and(|document| document.visibility_state() == VisibilityState::Hidden)
}

/// Sends a message each time the page goes into the background or is about to unload. Ends
/// immediately in a worker.
pub(crate) fn page_hidden() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    let Ok(window) = global().dyn_into::<Window>() else {
        return receiver;
    };
    let mut targets: Vec<(EventTarget, &str)> = Vec::new();
    if let Some(document) = window.document() {
        targets.push((document.into(), "visibilitychange"));
    }
    targets.push((window.into(), "pagehide"));
    let hidden = sender.clone();
    let listener = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
        // A page that unloads becomes hidden only after `pagehide`, and in old browsers never.
        if is_page_hidden() || event.type_() == "pagehide" {
            // If the last message was not received yet, this one is redundant.
            let _ = hidden.try_send(());
        }
    });
    let function = listener.as_ref().unchecked_ref();
    for (target, event) in &targets {
        // Fails only for objects that are not event targets.
        let _ = target.add_event_listener_with_callback(event, function);
    }
    spawn_local(async move {
        sender.closed().await;
        for (target, event) in targets {
            let function = listener.as_ref().unchecked_ref();
            let _ = target.remove_event_listener_with_callback(event, function);
        }
    });
    receiver
}
