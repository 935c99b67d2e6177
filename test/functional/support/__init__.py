"""What the functional tests share: servers, clients and ways to wait for them."""
