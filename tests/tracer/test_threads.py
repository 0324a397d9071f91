import threading
import time

from tracer import threads


def test_stacks_name_threads_and_show_no_values():
    waiting = threading.Event()
    secret = "sk-never-shown"

    def wait_here(value):
        waiting.wait()

    thread = threading.Thread(target=wait_here, args=(secret,), name="waiter")
    thread.start()
    try:
        found = next(text for text in threads.stacks() if text.startswith("waiter"))
    finally:
        waiting.set()
        thread.join()
    assert " s of CPU\n" in found
    assert "in wait_here" in found
    assert secret not in found


def test_cpu_of_a_thread_is_its_own():
    before = time.thread_time_ns()
    seen = threads.cpu_ns(threads.native_id(threading.current_thread()))
    assert before <= seen <= time.thread_time_ns()


def test_a_thread_that_has_ended_has_none():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert threads.cpu_ns(2**22 - 1) is None
