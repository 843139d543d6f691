"""Every endpoint in every version: the documented requests and answers, and real sockets."""
