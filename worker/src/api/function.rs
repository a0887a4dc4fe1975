//! A handler as a function of its arguments.

use serde::Serialize;

use super::answer::{Answer, Output};
use super::argument::{Arguments, Input};
use super::arity::for_each_arity;

/// What a route reads and answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Operation {
    /// Parts of a request, in the order of the handler's arguments.
    pub inputs: Vec<Input>,
    /// Answers, the one in which everything went well first.
    pub outputs: Vec<Output>,
}

impl Operation {
    /// Of a handler with these arguments and this answer.
    pub(crate) fn of<A: Arguments, R: Answer>() -> Self {
        Self { inputs: A::inputs(), outputs: R::outputs() }
    }
}

/// An async function of at most 16 arguments, `A` as a tuple. Every handler of axum's is one.
///
/// The arguments stand apart from their [`Argument`](super::Argument), so that the compiler names the one that is none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async function of at most 16 arguments",
    label = "not an async function"
)]
pub trait Function<A> {
    /// What it answers.
    type Answer;
}

macro_rules! functions {
    ($($argument:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, R, $($argument),*> Function<($($argument,)*)> for F
        where
            F: FnOnce($($argument),*) -> R,
            R: Future,
        {
            type Answer = R::Output;
        }
    };
}

for_each_arity!(functions);
