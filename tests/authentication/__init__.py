"""What a client does when its tokens or its credentials are refused, and when no more tokens are to be had."""
