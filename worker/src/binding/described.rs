//! What each extractor reads, for `Route::api_get` and its like.

use super::reading::{FORM, JSON, MULTIPART};
use super::{
    Bind, BindForm, BindHeader, BindJson, BindPath, BindQuery, Bindable, ShouldBind, ShouldBindForm, ShouldBindHeader,
    ShouldBindJson, ShouldBindPath, ShouldBindQuery,
};
use crate::api::{Argument, Input};

macro_rules! described {
    ($($bind:ident $should:ident $inputs:ident;)*) => {$(
        impl<T: Bindable> Argument for $bind<T> {
            fn inputs() -> Vec<Input> {
                $inputs::<T>()
            }
        }

        impl<T: Bindable> Argument for $should<T> {
            fn inputs() -> Vec<Input> {
                $inputs::<T>()
            }
        }
    )*};
}

described! {
    Bind ShouldBind any;
    BindJson ShouldBindJson json;
    BindForm ShouldBindForm form;
    BindQuery ShouldBindQuery query;
    BindPath ShouldBindPath path;
    BindHeader ShouldBindHeader header;
}

fn any<T: Bindable>() -> Vec<Input> {
    vec![Input::body::<T>(&[JSON, FORM, MULTIPART]), Input::query::<T>()]
}

fn json<T: Bindable>() -> Vec<Input> {
    vec![Input::body::<T>(&[JSON])]
}

fn form<T: Bindable>() -> Vec<Input> {
    vec![Input::body::<T>(&[FORM, MULTIPART])]
}

fn query<T: Bindable>() -> Vec<Input> {
    vec![Input::query::<T>()]
}

fn path<T: Bindable>() -> Vec<Input> {
    vec![Input::path::<T>()]
}

fn header<T: Bindable>() -> Vec<Input> {
    vec![Input::header::<T>()]
}
