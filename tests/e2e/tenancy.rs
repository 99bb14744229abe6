//! Teams that want to reach each other's data: none gets one write to AWS.
