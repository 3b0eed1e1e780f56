//! The examples in the documentation.

/// The hidden lines of an example in the documentation of a client.
///
/// The calling crate needs `amplify-test-support`, `aws-credential-types` and `tokio` for its tests.
#[doc(hidden)]
#[macro_export]
macro_rules! aws_example {
    (@builder $krate:literal) => {
        concat!(
            "# use ", $krate, "::*;\n",
            "# #[tokio::main]\n",
            "# async fn main() -> Result<(), Box<dyn std::error::Error>> {\n",
            "# let credentials = aws_credential_types::Credentials::new(\n",
            "#     \"access key\", \"secret key\", None, None, \"example\",\n",
            "# );",
        )
    };
    // Requests go to an endpoint on this machine.
    (@client $krate:literal, $client:ident) => {
        concat!(
            $crate::aws_example!(@builder $krate),
            "\n# let aws = amplify_test_support::FakeAws::start();\n",
            "# let client = ", stringify!($client), "::builder()\n",
            "#     .region(\"us-east-1\")\n",
            "#     .credentials_provider(credentials)\n",
            "#     .endpoint_url(aws.endpoint_url())\n",
            "#     .in_memory()\n",
            "#     .build()\n",
            "#     .await?;",
        )
    };
    (@end) => {
        "# Ok(())\n# }"
    };
}
