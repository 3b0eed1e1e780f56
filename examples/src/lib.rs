//! Compiles the snippets of the documentation, and runs them where possible, so each can be copied
//! as it is.

#[cfg(doctest)]
mod snippets {
    #[doc = include_str!("../../README.md")]
    mod readme {}

    #[doc = include_str!("../../docs/from-amplify.md")]
    mod from_amplify {}

    #[doc = include_str!("../../docs/aggregation.md")]
    mod aggregation {}

    #[doc = include_str!("../../docs/operations.md")]
    mod operations {}

    #[doc = include_str!("../../docs/testing-your-app.md")]
    mod testing_your_app {}
}
