"""Small searches leave the other cores alone."""

from __future__ import annotations

import pytest

from motionseek.indexer.nearest import ALONE, import_faiss, one_thread_for


@pytest.mark.parametrize(("work", "threads"), [(ALONE, 1), (ALONE + 1, 3)])
def test_little_work_is_done_by_one_thread(work, threads):
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        with one_thread_for(work):
            assert faiss.omp_get_max_threads() == threads
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
