//! The page's program: a client and its user interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amplify_kinesis::browser::PageCredentials;
use amplify_kinesis::{
    AmplifyKinesisClient, AmplifyKinesisClientOptions, AmplifyKinesisError, FlushStrategy,
    StoragePlace,
};
use js_sys::{Function, Object, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{future_to_promise, spawn_local};
use web_sys::{Document, UrlSearchParams, Window, console};

const STREAM: &str = "clicks";

/// Starts the program, and shows a failure on the page.
pub(crate) fn start() {
    std::panic::set_hook(Box::new(|info| console::error_1(&info.to_string().into())));
    spawn_local(async {
        if let Err(error) = run().await {
            console::error_1(&error);
            if let Ok(page) = Page::this() {
                page.say("storage", &format!("it does not start: {error:?}"));
            }
        }
    });
}

async fn run() -> Result<(), JsValue> {
    let page = Page::this()?;
    let delivered = Arc::new(AtomicUsize::new(0));
    let client = client(&page, &delivered).await.map_err(text)?;
    page.say("storage", &place(client.storage()));
    page.offer("record", record(&client))?;
    page.offer("flush", flush(&client))?;
    page.offer("close", close(&client))?;
    let window = page.window.clone();
    every_moment(&window, move || {
        let waiting = client.cache_stats().records;
        page.say("waiting", &waiting.to_string());
        page.say("delivered", &delivered.load(Ordering::Relaxed).to_string());
    })
}

async fn client(
    page: &Page,
    delivered: &Arc<AtomicUsize>,
) -> Result<AmplifyKinesisClient, AmplifyKinesisError> {
    let delivered = Arc::clone(delivered);
    let options = AmplifyKinesisClientOptions::default()
        .flush_strategy(FlushStrategy::Interval(Duration::from_secs(2)))
        .on_delivered(move |_record| {
            delivered.fetch_add(1, Ordering::Relaxed);
        });
    AmplifyKinesisClient::builder()
        .region("us-east-1")
        .endpoint_url(page.endpoint())
        .credentials_provider(PageCredentials::new(page.function("credentials")))
        .name("click-counter")
        .options(options)
        .build()
        .await
}

fn place(storage: &StoragePlace) -> String {
    match storage {
        StoragePlace::Database { name, slot, .. } => format!("the database {name}, tab {slot}"),
        _ => "memory: this browser grants no storage".to_owned(),
    }
}

/// Records a text; the promise resolves once it is stored.
fn record(client: &AmplifyKinesisClient) -> Closure<dyn FnMut(String) -> JsValue> {
    let client = client.clone();
    Closure::new(move |data: String| {
        let client = client.clone();
        let recorded = async move {
            let recorded = client.record(data, "page", STREAM).await.map_err(text)?;
            Ok(JsValue::from(recorded.records_stored))
        };
        future_to_promise(recorded).into()
    })
}

/// Sends the backlog, and says how many records that was.
fn flush(client: &AmplifyKinesisClient) -> Closure<dyn FnMut(String) -> JsValue> {
    let client = client.clone();
    Closure::new(move |_| {
        let client = client.clone();
        let flushed = async move {
            let flushed = client.flush().await.map_err(text)?;
            Ok(JsValue::from(flushed.records_flushed))
        };
        future_to_promise(flushed).into()
    })
}

fn close(client: &AmplifyKinesisClient) -> Closure<dyn FnMut(String) -> JsValue> {
    let client = client.clone();
    Closure::new(move |_| {
        let client = client.clone();
        let closed = async move {
            client.close().await.map_err(text)?;
            Ok(JsValue::UNDEFINED)
        };
        future_to_promise(closed).into()
    })
}

fn text(error: AmplifyKinesisError) -> JsValue {
    let text = format!("{error}: {}", error.recovery_suggestion());
    js_sys::Error::new(&text).into()
}

/// The page around the program.
struct Page {
    window: Window,
    document: Document,
    /// Functions that the page's own script may call.
    offered: Object,
}

impl Page {
    fn this() -> Result<Self, JsValue> {
        let window: Window = js_sys::global().dyn_into()?;
        let document = window.document().ok_or("there is no document")?;
        Ok(Self {
            window,
            document,
            offered: Object::new(),
        })
    }

    /// The endpoint: `?endpoint=` in the page's address, or the default port of `cargo xtask
    /// endpoint`.
    fn endpoint(&self) -> String {
        let search = self.window.location().search().unwrap_or_default();
        let asked = UrlSearchParams::new_with_str(&search);
        let asked = asked.ok().and_then(|asked| asked.get("endpoint"));
        asked.unwrap_or_else(|| "http://127.0.0.1:4566".to_owned())
    }

    /// A function of the page's script.
    fn function(&self, name: &str) -> Function {
        let function = Reflect::get(&self.window, &name.into());
        function.map(JsCast::unchecked_into).unwrap_or_default()
    }

    fn offer(
        &self,
        name: &str,
        function: Closure<dyn FnMut(String) -> JsValue>,
    ) -> Result<(), JsValue> {
        Reflect::set(&self.offered, &name.into(), &function.into_js_value())?;
        Reflect::set(&self.window, &"client".into(), &self.offered)?;
        Ok(())
    }

    fn say(&self, id: &str, text: &str) {
        if let Some(element) = self.document.get_element_by_id(id) {
            element.set_text_content(Some(text));
        }
    }
}

/// Calls this ten times a second.
fn every_moment(window: &Window, refresh: impl FnMut() + 'static) -> Result<(), JsValue> {
    let refresh = Closure::<dyn FnMut()>::new(refresh).into_js_value();
    window.set_interval_with_callback_and_timeout_and_arguments_0(refresh.unchecked_ref(), 100)?;
    Ok(())
}
