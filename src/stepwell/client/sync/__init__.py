"""The client for programs without an event loop; most of it is made of the other one."""
